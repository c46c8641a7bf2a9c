"""What the runs say, in sentences: who recalled best and at what cost, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mnemic.report.recall_notes import recall_warnings
from mnemic.report.records import Record
from mnemic.report.summary import Estimate, Group, group_runs
from mnemic.report.units import bytes_text, percent_text, score_text

__all__ = ["by_task", "headline", "leaders", "warnings_about"]


def by_task(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Tasks in order of appearance."""
    tasks: dict[str, list[Record]] = {}
    for record in records:
        tasks.setdefault(record.task, []).append(record)
    return tasks


def leaders(groups: Sequence[Group]) -> list[Group]:
    """The best memory, first, and all whose interval overlaps its interval: the runs do not tell these apart."""
    scored = [(group, group.score) for group in groups if group.score is not None]
    if not scored:
        return []
    sign = -1.0 if scored[0][0].first.asks_for_answers else 1.0
    ranked = sorted(scored, key=lambda pair: sign * pair[1].mean)
    best = ranked[0]
    return [group for group, score in ranked if _not_told_apart((group, score), best)]


def _not_told_apart(one: tuple[Group, Estimate], best: tuple[Group, Estimate]) -> bool:
    """Question by question, which tells more than two intervals, where `one` was compared with this best so."""
    gain = one[0].beside_best
    return one[1].overlaps(best[1]) if gain is None or best[0].beside_best is not None else gain.high >= 0


def headline(groups: Sequence[Group]) -> str:
    """A few sentences about one task, no stronger than the intervals allow."""
    first = leaders(groups)
    if not first or first[0].score is None:
        return "No run of this task finished."
    chance = first[0].first.chance
    scores = [group.score for group in groups if group.score is not None]
    if first[0].first.asks_for_answers and chance is not None and all(score.low <= chance for score in scores):
        return f"Nothing was told apart from chance ({score_text(chance)}); the best was {_said(first[0])}."
    if len(groups) == 1:
        return f"{_said(first[0])}{_held(first[0])}."
    says = [_best(groups, first)]
    if not first[0].first.asks_for_answers:
        says.append(_on_recall_hits(groups))
    return " ".join(filter(None, says))


def warnings_about(records: Sequence[Record]) -> list[str]:
    """What a reader must know before believing the table of one task."""
    groups = group_runs(records)
    return [*_edges(groups), *_unequal(groups), *_few_seeds(groups), *recall_warnings(groups), *_failed(records)]


def _edges(groups: Sequence[Group]) -> list[str]:
    found = []
    for group in groups:
        edge = sorted({r.lr for r in group.records if r.lr_on_edge and r.lr is not None})
        if edge:
            grid = ", ".join(f"{lr:g}" for lr in group.first.lr_grid)
            rates = " and ".join(f"{lr:g}" for lr in edge)
            found.append(
                f"{group.label}: the best learning rate ({rates}) is on the edge of the grid ({grid}); "
                "a wider grid may find a better one."
            )
    return found


def _unequal(groups: Sequence[Group]) -> list[str]:
    """Mixers are compared inside one shell and one budget, or the comparison is not fair."""
    found = []
    groups = [group for group in groups if group.first.layers]  # closed forms have neither shell nor training
    for what in ("shell", "training"):
        settings = [getattr(group.first, what) for group in groups]
        for name in dict.fromkeys(name for setting in settings for name in setting):
            values = {group.label: setting.get(name) for group, setting in zip(groups, settings, strict=True)}
            if name not in {"stopped_early_at", "seed", "lr"} and len({repr(v) for v in values.values()}) > 1:
                listed = ", ".join(f"{label} {value}" for label, value in values.items())
                found.append(
                    f"Not the same {name} everywhere ({listed}): the memories are not compared on equal terms."
                )
    return found


def _few_seeds(groups: Sequence[Group]) -> list[str]:
    seeds = {len(group.records) for group in groups if not group.first.recalls}
    if len(groups) > 1 and seeds == {2}:
        return [
            "Two seeds say little about the luck of training, so the intervals are wide; three or more narrow them."
        ]
    if len(groups) > 1 and seeds == {1}:
        return ["One seed: the intervals cover the test examples, not the luck of training; --seeds 0,1,2 shows both."]
    return []


def _failed(records: Sequence[Record]) -> list[str]:
    failed: dict[str, list[Record]] = {}
    for record in records:
        if record.status == "failed":
            failed.setdefault(record.memory, []).append(record)
    return [
        f"{memory}: {len(runs)} {'run' if len(runs) == 1 else 'runs'} failed: {_first_line(runs[-1].error)}"
        for memory, runs in failed.items()
    ]


def _best(groups: Sequence[Group], first: Sequence[Group]) -> str:
    record = first[0].first
    did = (
        "recalled best"
        if record.asks_for_answers
        else f"predicted {'' if record.predicts_numbers else 'the text '}best"
    )
    if len(first) == 1:
        rest = leaders([group for group in groups if group is not first[0]])
        return f"{_said(first[0], did)}{_held(first[0])}." + (
            f" Next: {_said(rest[0])}{_held(rest[0])}{_behind(rest[0])}." if rest else ""
        )
    scores = ", ".join(f"{group.label} {score_text(group.score.mean)}" for group in first if group.score)
    lead = (
        f"No significant difference between the {len(first)} memories"
        if len(first) == len(groups)
        else f"{_listed([group.label for group in first])} {did}, with no significant difference between them"
    )
    cheapest = _cheapest(first)
    holds = f" Of these, {cheapest.label} holds least: {_bytes(cheapest)}." if cheapest else ""
    is_paired = all(group.beside_best is not None for group in first[1:])
    why = "question by question, the 95 % intervals hold 0" if is_paired else "the 95 % intervals overlap"
    return f"{lead} ({scores}; {why}).{holds}"


def _on_recall_hits(groups: Sequence[Group]) -> str:
    """The part of a text that shows a memory: tokens that occurred in the same context before."""
    hits = [(group, hit) for group in groups if (hit := group.metric("recall_hit_loss")) is not None]
    if len(hits) < 2:
        return ""
    hits.sort(key=lambda pair: pair[1].mean)
    best, worst = hits[0], hits[-1]
    share = best[0].metric("recall_hit_share")
    which = f" ({percent_text(share.mean)} of all)" if share is not None else ""
    return (
        f"On tokens that can be recalled from the context{which} the loss is {score_text(best[1].mean)} "
        f"for {best[0].label} and {score_text(worst[1].mean)} for {worst[0].label}."
    )


def _said(group: Group, did: str = "") -> str:
    if group.score is None:
        return group.label
    name = group.first.score_metric
    lead = f"{group.label} {did}: {name}" if did else f"{group.label}, {name}"
    return f"{lead} {score_text(group.score.mean)} ({score_text(group.score.low)} to {score_text(group.score.high)})"


def _held(group: Group) -> str:
    return f", holding {_bytes(group)}" if group.held is not None else ""


def _behind(group: Group) -> str:
    """By how much the best is better, question by question."""
    gain = group.beside_best
    if gain is None:
        return ""
    return f"; it is {score_text(-gain.mean)} behind ({score_text(-gain.high)} to {score_text(-gain.low)})"


def _cheapest(groups: Sequence[Group]) -> Group | None:
    """The group that holds strictly least, None where that is unknown or shared."""
    held = sorted(((group.held, i) for i, group in enumerate(groups)), key=lambda pair: (pair[0] or 0, pair[1]))
    if any(held_bytes is None for held_bytes, _ in held) or (len(held) > 1 and held[0][0] == held[1][0]):
        return None
    return groups[held[0][1]]


def _bytes(group: Group) -> str:
    return f"{bytes_text(group.held or 0)} a {group.held_for}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(([", ".join(names[:-1])] if names[:-1] else []) + [names[-1]])


def _first_line(error: str | None) -> str:
    lines = (error or "").strip().splitlines()
    return lines[0] if lines else "no error was recorded"
