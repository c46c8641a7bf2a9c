"""Which traces are worth a teacher's time: the seed stage of MEMENTO's data pipeline (arXiv 2604.09852, stage 0)."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mnemic.teaching.records import TraceRecord

__all__ = ["SeedRules", "Selection", "quotas", "seed_traces", "select"]

_CJK = re.compile("[\u4e00-\u9fff]")
_NO_DOMAIN = "unknown"


class SeedRules(BaseModel):
    """What is kept of the imported traces. The paper's draw is answers_per_question=16 with whole_questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop_cjk: bool = Field(True, description="drop traces with a Chinese character (U+4E00 to U+9FFF)")
    answers_per_question: int = Field(0, ge=0, description="at most so many traces of one question; 0: all")
    whole_questions: bool = Field(
        False, description="only questions of which all answers, and at least answers_per_question, can be used"
    )
    count: int = Field(0, ge=0, description="traces to draw; 0: all")
    domains: dict[str, float] = Field(
        default_factory=dict, description="share of each domain in the draw, such as math .667, code .213, science .12"
    )
    seed: int = Field(0, description="of the draw")


class _Seen(NamedTuple):
    id: str
    question: str
    domain: str
    usable: bool


@dataclass(frozen=True)
class Selection:
    """The ids that were chosen, and why each of the others was not."""

    chosen: frozenset[str]
    refused: Mapping[str, str]


def seed_traces(read: Callable[[], Iterator[TraceRecord]], rules: SeedRules) -> Iterator[TraceRecord]:
    """The traces that `rules` choose, in order; those that cannot be used come as failed records with the reason.

    Traces that are merely over a count are left out without a word.

    Args:
        read: reads the source from its beginning. It is read twice when the rules need counts over all of it.
    """
    if rules.answers_per_question or rules.whole_questions or rules.count:
        selection = select(read(), rules)
        for record in read():
            if reason := selection.refused.get(record.id):
                yield record.failed(reason)
            elif record.id in selection.chosen:
                yield record
        return
    for record in read():
        reason = _reason(record, rules)
        yield record.failed(reason) if reason else record


def select(records: Iterator[TraceRecord], rules: SeedRules) -> Selection:
    """Choose by counts per question and per domain. Holds ids, not texts."""
    refused: dict[str, str] = {}
    questions: dict[str, list[_Seen]] = defaultdict(list)
    for record in records:
        reason = _reason(record, rules)
        if reason:
            refused[record.id] = reason
        question = hashlib.sha256("\0".join(m.content for m in record.prompt).encode()).hexdigest()[:16]
        domain = record.meta.domain or _NO_DOMAIN
        questions[question].append(_Seen(record.id, question, domain, not reason))
    rng = random.Random(rules.seed)
    kept: list[_Seen] = []
    for answers in questions.values():
        usable = [seen for seen in answers if seen.usable]
        if rules.whole_questions and (len(usable) < len(answers) or len(usable) < rules.answers_per_question):
            refused |= {s.id: "question: not all answers of the question can be used, or too few" for s in usable}
        elif rules.answers_per_question:
            kept += rng.sample(usable, min(len(usable), rules.answers_per_question))
        else:
            kept += usable
    return Selection(frozenset(_draw(kept, rules, rng)), refused)


def quotas(available: Mapping[str, int], shares: Mapping[str, float], count: int) -> dict[str, int]:
    """How many of each domain make `count`; what a domain lacks goes to the others by their shares.

    Domains without a share give nothing, unless there are no shares at all: then each gives what it has of the whole.
    """
    weights = {d: shares.get(d, 0.0) for d in available} if shares else {d: float(n) for d, n in available.items()}
    taken = dict.fromkeys(available, 0)
    while (missing := count - sum(taken.values())) > 0:
        open_ = {d: w for d, w in weights.items() if w > 0 and taken[d] < available[d]}
        if not open_:
            break
        total = sum(open_.values())
        exact = {d: missing * w / total for d, w in open_.items()}
        give = {d: int(e) for d, e in exact.items()}
        largest = sorted(open_, key=lambda d: give[d] - exact[d])
        for domain in largest[: missing - sum(give.values())]:
            give[domain] += 1
        for domain, more in give.items():
            taken[domain] += min(more, available[domain] - taken[domain])
    return taken


def _draw(kept: list[_Seen], rules: SeedRules, rng: random.Random) -> list[str]:
    if not rules.count:
        return [seen.id for seen in kept]
    by_domain: dict[str, list[str]] = defaultdict(list)
    for seen in kept:
        by_domain[seen.domain].append(seen.id)
    wanted = quotas({d: len(ids) for d, ids in by_domain.items()}, rules.domains, rules.count)
    return [name for domain, ids in by_domain.items() for name in rng.sample(ids, wanted[domain])]


def _reason(record: TraceRecord, rules: SeedRules) -> str | None:
    if record.status == "failed":
        return record.error
    if rules.drop_cjk and (found := _CJK.search(record.reasoning) or _CJK.search(record.answer)):
        return f"cjk: the trace has a Chinese character (U+{ord(found[0]):04X})"
    return None
