"""Figures and tables of the study of Recall with Reasoning: accuracy against the length of the context."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from mnemic.report.axes import few_ticks, score_axis
from mnemic.report.figure import Chart, canvas, finish, points, styles
from mnemic.report.sheets import Sheet
from mnemic.studies.rwr_answers import Answered
from mnemic.studies.rwr_claims import CASES, Case, Measured
from mnemic.studies.rwr_runs import MULTIPLES, SHORTEST, Question, SizeOf

__all__ = ["NAMES", "figures", "sheets"]

NAMES: Mapping[Case, str] = {
    ("plain", "direct"): "plain fine-tuning",
    ("plain x2", "direct"): "plain, twice the updates",
    ("plain", "decimated"): "plain + DeciMamba",
    ("ReMamba", "direct"): "ReMamba",
    ("query first", "direct"): "plain, query first",
    ("RwR", "direct"): "RwR, answering at once",
    ("RwR", "note"): "RwR, note first",
    ("RwR", "segments"): "RwR + SSA",
    ("RwR, empty 0.15", "note"): "note first, 0.15 empty",
    ("RwR, empty 0.15", "segments"): "SSA, 0.15 empty",
    ("RwR, empty 0", "note"): "note first, none empty",
    ("RwR, empty 0", "segments"): "SSA, none empty",
}
"""Who was asked and how, as people read it."""


def figures(length: int, measured: Measured) -> tuple[Chart, ...]:
    """Those that have something to show.

    Args:
        length: the longest context that was trained on.
    """
    arms = [case for case in CASES if not case[0].startswith("RwR, ")]
    shares: list[Case] = [case for case in CASES if case[0].startswith("RwR") and case[1] != "direct"]
    charts = (
        _against_length("rwr-arms", "Accuracy against the length of the context", arms, length, measured),
        _against_length("rwr-empty", "The share of empty notes in training", shares, length, measured),
    )
    return tuple(chart for chart in charts if chart is not None)


def sheets(size: SizeOf, measured: Measured) -> tuple[Sheet, ...]:
    """Accuracy of every arm at every length, and how well the arms abstain."""
    heads = [f"{multiple * size.length} ({multiple}x)" for multiple in MULTIPLES]
    lengths = [SHORTEST, *MULTIPLES]
    accuracies = Sheet(
        "Accuracy by tokens of the context",
        ("arm", str(size.shortest), *heads),
        tuple((NAMES[case], *(_spread(measured.get((case, Question(m)), [])) for m in lengths)) for case in CASES),
        f"Mean of the seeds, lowest to highest; {size.questions} questions each, all of which have an answer.",
    )
    asked = [m for m in MULTIPLES if any((case, Question(m, True)) in measured for case in CASES)]
    abstention = Sheet(
        "Abstaining: precision / recall, where half of the questions have no answer",
        ("arm", *(f"{m * size.length} ({m}x)" for m in asked)),
        tuple((NAMES[case], *(_rates(measured.get((case, Question(m, True)), [])) for m in asked)) for case in CASES),
        "Means of the seeds; –: it never abstained.",
    )
    return accuracies, abstention


def _spread(of_seed: Sequence[Answered]) -> str:
    if not of_seed:
        return "–"
    found = [one.accuracy for one in of_seed]
    return f"{fmean(found):.2f}\n{min(found):.2f}–{max(found):.2f}"


def _rates(of_seed: Sequence[Answered]) -> str:
    kinds = [[one.precision for one in of_seed], [one.recall for one in of_seed]]
    return " / ".join(f"{fmean(known):.2f}" if (known := [x for x in kind if x is not None]) else "–" for kind in kinds)


def _against_length(name: str, title: str, cases: Sequence[Case], length: int, measured: Measured) -> Chart | None:
    lines = {
        NAMES[case]: {m * length: of_seed for m in MULTIPLES if (of_seed := measured.get((case, Question(m))))}
        for case in cases
    }
    lines = {label: line for label, line in lines.items() if line}
    if not lines:
        return None
    look = styles(list(lines))
    with canvas(260) as figure:
        axes = figure.subplots()
        for label, line in lines.items():
            lengths, means = list(line), [_mean(of_seed) for of_seed in line.values()]
            axes.plot(lengths, means, color=look[label].colour)
            spans = [(min(s), max(s)) for of_seed in line.values() for s in [[one.accuracy for one in of_seed]]]
            points(axes, look[label], lengths, means, spans)
        axes.set_xscale("log", base=2)
        few_ticks(axes, sorted({tokens for line in lines.values() for tokens in line}))
        score_axis(axes, 1.0, 0.1)
        axes.set(title="accuracy", xlabel="tokens of the context")
        told = "; ".join(
            f"{label}: " + ", ".join(f"{_mean(of_seed):.2f} at {tokens}" for tokens, of_seed in line.items())
            for label, line in lines.items()
        )
        svg = finish(figure, name, title, told)
    note = (
        f"Trained on up to {length} tokens. A mark is the mean of the seeds, its line reaches from the lowest to the "
        "highest of them; dotted: chance among the digits."
    )
    return Chart(title, svg, tuple(lines), note, look)


def _mean(of_seed: Sequence[Answered]) -> float:
    return fmean(one.accuracy for one in of_seed)
