"""One request's blocks: what leaves its cache and when, whichever way its tokens come to be computed.

An eviction belongs to a position p: it happens when exactly the tokens before p are in the cache. So one rule serves
tokens that were sampled, prompts with blocks of earlier turns (fed in pieces that end at such positions, which is the
memento mask without a mask), and requests that were preempted and start again.
"""

from collections.abc import Iterable, Sequence

from mnemic.teaching.memento.blocks import BlockTracker, Eviction
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role
from mnemic_vllm.compaction import Compaction, plan
from mnemic_vllm.spans import EvictedSpans

__all__ = ["RequestLedger"]


class RequestLedger:
    """
    Args:
        prompt_tokens: length of the prompt, whose markers are obeyed only inside `assistant_spans`.
        assistant_spans: parts [start, end) of the prompt that the model wrote.

    Attributes:
        spans: the logical positions that have left.
    """

    def __init__(
        self,
        markers: MarkerIds,
        rules: MementoRules,
        prompt_tokens: int,
        assistant_spans: Iterable[tuple[int, int]] = (),
    ) -> None:
        self.spans = EvictedSpans()
        self._markers = frozenset(markers)
        self._tracker = BlockTracker(markers, rules)
        self._written = [*assistant_spans, (prompt_tokens, None)]
        self._events: list[tuple[int, Eviction]] = []
        self._read = self._done = 0

    def read(self, tokens: Sequence[int]) -> None:
        """Take in the request's tokens, prompt and output; those read before are skipped."""
        for position in range(self._read, len(tokens)):
            if not self._is_written(position):
                self._tracker.push(tokens[position], position, Role.PROTECTED)
            elif tokens[position] in self._markers:
                self._events += [(position, e) for e in self._tracker.push(tokens[position], position)]
        self._read = max(self._read, len(tokens))

    def piece(self, computed: int) -> int | None:
        """How many tokens may be fed after the `computed` ones before something must leave; None: any number."""
        return self._events[self._done][0] - computed if self._done < len(self._events) else None

    def evict(self, computed: int, page_ids: Sequence[int], page_size: int) -> tuple[Compaction, int] | None:
        """Everything that must leave now that the first `computed` tokens are in the cache.

        Returns:
            what to do with the pages, and how many tokens count as computed afterwards (fewer in restart mode, where a
            memento is fed again); None when nothing leaves.
        """
        dropped, resume = [], computed
        resident = computed - self.spans.total
        before = self.spans.evicted_before
        while self._done < len(self._events) and self._events[self._done][0] == computed:
            eviction = self._events[self._done][1]
            dropped.append((eviction.start, eviction.end))
            if eviction.rewind_to is not None:
                resume = min(resume, eviction.rewind_to)
            self._done += 1
        if not dropped:
            return None
        slots = [(start - before(start), end - before(end)) for start, end in [*dropped, (resume, computed)]]
        compaction = plan(slots, resident, page_ids, page_size)
        for start, end in dropped:
            self.spans.add(start, end)
        return compaction, resume

    def start_again(self) -> None:
        """The request lost its cache and will be computed anew: every eviction is due once more."""
        self.spans = EvictedSpans()
        self._done = 0

    def _is_written(self, position: int) -> bool:
        return any(start <= position and (end is None or position < end) for start, end in self._written)
