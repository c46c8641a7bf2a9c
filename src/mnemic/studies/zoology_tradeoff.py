"""Claim E of the Zoology study: recall against the bytes that a memory holds, every baseline mixer at three sizes.

Every mixer stands behind the same BaseConv-3 and has no other convolution than those that it is made of. At width d
each fixed state holds d·d numbers, or as nearly so as its shape allows: 1, 4 and 16 KiB in float32. Attention holds
2·64·d, long convolutions 64·d, in rows of 64 tokens.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from mnemic.report.claims import Claim
from mnemic.report.records import Record
from mnemic.report.sheets import Sheet
from mnemic.report.units import bytes_text, score_text
from mnemic.studies.base import Arm, accuracy, judge
from mnemic.studies.zoology_runs import BASE_CONV_3, LENGTH, WIDTHS, recall_arm

__all__ = [
    "FAMILIES",
    "JUDGED_WIDTH",
    "MEMORIES",
    "tradeoff_arms",
    "tradeoff_claims",
    "tradeoff_runs",
    "tradeoff_sheet",
]

STEPS = 600
JUDGED_WIDTH, TOLERANCE, RISE = 32, 0.02, 0.05
MEMORIES = {
    "attention": "attention", "sliding-window": "sliding window", "gated-deltanet": "Gated DeltaNet",
    "delta-net": "DeltaNet", "mamba2": "Mamba-2", "gla": "GLA", "retention": "retention",
    "linear-attention": "linear attention", "based": "Based", "base-conv": "BaseConv-long", "hyena": "Hyena",
    "h3": "H3",
}  # fmt: skip
FAMILIES = {
    "attention": ("attention",),
    "gated delta rule": ("gated-deltanet",),
    "decayed linear state": ("mamba2", "gla", "retention"),
    "gated convolution": ("base-conv", "hyena", "h3"),
}
"""From the best to the least, as the literature has them."""


def tradeoff_arms() -> dict[str, Arm]:
    """Every mixer at every width, with half the steps of claim A.

    The learning rate was chosen at width 32 on validation rows of seed 7000, in runs of 400 steps at 3e-3 and 1e-2: the
    faster was better for every one of them.
    """
    return {
        f"E {name} {width}": recall_arm(label, (BASE_CONV_3, _layer(name, width)), width, STEPS)
        for width in WIDTHS
        for name, label in MEMORIES.items()
    }


def _layer(name: str, width: int) -> dict[str, Any]:
    features = {16: 4, 32: 7, 64: 10}  # of Based: f of them make 1 + f + f (f + 1) / 2 numbers, about as many as width
    options: dict[str, dict[str, Any]] = {
        "attention": {"heads": 1, "rope": False},
        "sliding-window": {"heads": 1, "rope": False, "window": width // 2},
        "gated-deltanet": {"heads": 1, "head_width": width, "expand_v": 1.0, "conv_size": 0},
        "delta-net": {"heads": 1, "conv_size": 0},
        "mamba2": {"head_width": width, "state": width // 2, "conv_size": 0},
        "gla": {"heads": 1, "expand_k": 1.0, "conv_size": 0},
        "retention": {"heads": 1, "expand_v": 1.0, "conv_size": 0},
        "linear-attention": {"heads": 1, "conv_size": 0},
        "based": {"heads": 1, "feature_width": features[width], "window": 0, "conv_size": 0},
        "base-conv": {"kernel": "long", "length": LENGTH},
        "hyena": {"length": LENGTH},
        "h3": {"state": width // 2},
    }
    return {"mixer": name, **options[name]}


def tradeoff_runs(runs: Mapping[str, Record]) -> dict[str, dict[int, Record]]:
    """mixer -> width -> its run, by the keys of :func:`tradeoff_arms`."""
    return {name: {width: runs[f"E {name} {width}"] for width in WIDTHS} for name in MEMORIES}


def tradeoff_claims(runs: Mapping[str, Record]) -> list[Claim]:
    """The order of the families at the judged width, and that more state recalls more."""
    found = tradeoff_runs(runs)
    best = {family: _best(found, members) for family, members in FAMILIES.items()}
    ordered = [_order(found, best, one, other) for one, other in pairwise(FAMILIES)]
    return [*ordered, _more_state(found)]


def _best(found: Mapping[str, Mapping[int, Record]], members: tuple[str, ...]) -> str:
    """The member with the most recall at the judged width; one that failed only where all did."""
    done = [name for name in members if found[name][JUDGED_WIDTH].status == "done"]
    return max(done or members, key=lambda name: accuracy(found[name][JUDGED_WIDTH]))


def _order(found: Mapping[str, Mapping[int, Record]], best: Mapping[str, str], one: str, other: str) -> Claim:
    runs = [found[best[family]][JUDGED_WIDTH] for family in (one, other)]
    ahead = accuracy(runs[0]) - accuracy(runs[1])
    measured = ", ".join(f"{MEMORIES[best[family]]} {_scores(found[best[family]])}" for family in (one, other))
    members = " or ".join(MEMORIES[name] for name in FAMILIES[other])
    others = f" ({members}, whichever is best)" if len(FAMILIES[other]) > 1 else ""
    return judge(
        f"E. Order at width {JUDGED_WIDTH}: {one} ≥ {other}{others}",
        "the order of the recall–memory trade-off in Zoology, Based and Gated DeltaNet",
        f"behind by at most {TOLERANCE} at width {JUDGED_WIDTH}",
        f"{ahead:+.2f}: {measured} at widths {', '.join(map(str, WIDTHS))}", ahead >= -TOLERANCE, runs,
    )  # fmt: skip


def _more_state(found: Mapping[str, Mapping[int, Record]]) -> Claim:
    least, most = min(WIDTHS), max(WIDTHS)
    fixed = [name for name in MEMORIES if name != "attention"]
    rises = {name: accuracy(found[name][most]) - accuracy(found[name][least]) for name in fixed}
    rising = [name for name in fixed if rises[name] >= RISE]
    flat = [f"{MEMORIES[name]} {rises[name]:+.3f}" for name in fixed if name not in rising]
    measured = f"{len(rising)} of {len(fixed)} do" + (f"; not {', '.join(flat)}" if flat else "")
    return judge(
        f"E. Every memory but attention recalls more with the state of width {most} than with that of width {least}",
        "recall grows with the bytes that a memory holds, whatever the memory",
        f"accuracy higher by at least {RISE} for each", measured, len(rising) == len(fixed),
        [found[name][width] for name in fixed for width in (least, most)],
    )  # fmt: skip


def tradeoff_sheet(runs: Mapping[str, Record]) -> Sheet:
    """Accuracy, and below it the bytes of both layers, of every mixer at every width."""
    rows = [
        (MEMORIES[name], *(_cell(record) for record in of_width.values()))
        for name, of_width in tradeoff_runs(runs).items()
    ]
    head = ("memory", *(f"width {width}" for width in WIDTHS))
    note = "Accuracy, and the bytes of one sequence of 64 tokens. All behind the same BaseConv-3, with equal steps."
    return Sheet("E. Recall against memory", head, tuple(rows), note)


def _cell(record: Record) -> str:
    held = record.cost.memory_bytes
    return (
        "failed" if record.status == "failed" or held is None else f"{score_text(accuracy(record))}\n{bytes_text(held)}"
    )


def _scores(of_width: Mapping[int, Record]) -> str:
    return " / ".join("failed" if r.status == "failed" else f"{accuracy(r):.2f}" for r in of_width.values())
