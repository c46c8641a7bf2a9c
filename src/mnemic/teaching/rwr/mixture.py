"""Which of the rows that could be made are trained on: notes, empty notes and plain answers in given shares.

Source: Recall with Reasoning (arXiv 2505.03320), fine-tuning on OpenOrca U D_s with D_s = D_f U D_e; shares are ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from mnemic.errors import UsageError
from mnemic.teaching.rwr.layout import Mode
from mnemic.teaching.rwr.options import MixtureRules

__all__ = ["Kind", "mix", "mode_of"]

Kind = Literal["valid", "empty", "plain"]
Candidate = tuple[str, Kind]


def mix(candidates: Sequence[Candidate], rules: MixtureRules) -> list[int]:
    """The places of the candidates that are taken, in the order of the rows.

    All valid notes are, and of the others as many as the shares ask for and there are; where plain rows are too few for
    their share, notes are cut to keep it. Each kind is drawn in an order of its own that the seed fixes, so that
    another share takes more or fewer of the same rows.

    Args:
        candidates: id and kind; ids are unique.
    """
    pools: dict[Kind, list[int]] = {"valid": [], "empty": [], "plain": []}
    for place, (_, kind) in enumerate(candidates):
        pools[kind].append(place)
    wanted = _wanted({kind: len(pool) for kind, pool in pools.items()}, rules)
    taken: list[int] = []
    for kind, pool in pools.items():
        taken += sorted(pool, key=lambda place: _drawn(rules.seed, candidates[place][0]))[: wanted[kind]]
    return sorted(taken, key=lambda place: _drawn(f"{rules.seed}/order", candidates[place][0]))


def _wanted(there: Mapping[Kind, int], rules: MixtureRules) -> dict[Kind, int]:
    """How many of each kind."""
    of_notes, of_rows = rules.empty_ratio, rules.plain_ratio
    if of_rows == 1:
        return {"valid": 0, "empty": 0, "plain": there["plain"]}
    valid = float(there["valid"]) if of_notes < 1 else 0.0
    empty = min(there["empty"], valid * of_notes / (1 - of_notes)) if of_notes < 1 else float(there["empty"])
    plain = (valid + empty) * of_rows / (1 - of_rows)
    kept = min(1.0, there["plain"] / plain) if plain else 1.0
    return {"valid": _whole(valid * kept), "empty": _whole(empty * kept), "plain": _whole(plain * kept)}


def _whole(number: float) -> int:
    """Rounded down, but for what binary fractions lack."""
    return int(number + 1e-6)


def mode_of(record_id: str, kind: Kind, *, summary_share: float = 0.5, seed: int = 0) -> Mode:
    """What a row asks for: the answer alone, the note alone, or both.

    Args:
        summary_share: share of the notes that are asked for without an answer; segments are read in that way.
    """
    if not 0 <= summary_share <= 1:
        raise UsageError(f"summary_share is {summary_share}; it must be from 0 to 1")
    if kind == "plain":
        return "answer"
    return "summary" if _drawn(f"{seed}/mode", record_id) < summary_share else "summary+answer"


def _drawn(seed: int | str, name: str) -> float:
    """A number from 0 up to 1 that belongs to a name, whatever else there is."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
