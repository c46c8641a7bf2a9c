"""Many requests in one running batch that evicts: they join and leave while the others decode.

One thread owns the model and all that decodes; others submit, cancel and listen. Requests wait in one queue, in order.
The first one joins when its prompt fits the budget of keys; when the batch outgrows the budget, the youngest sequence
gives its cache up, waits at the front and is read again later. So the oldest always goes on, and everyone ends.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnemic.errors import MnemicError, UsageError
from mnemic.teaching.memento.cache import EvictingCache
from mnemic.teaching.memento.decoding import check_model
from mnemic.teaching.memento.engine_rows import EngineRows
from mnemic.teaching.memento.engine_sequences import Continuation, Request
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["Engine", "EngineClosed", "Load", "PromptTooLong", "QueueFull"]

_log = logging.getLogger(__name__)
_UNBOUNDED = 2**31 - 2
_NO_MARKERS = MarkerIds(-1, -2, -3, -4)  # ids that no token has
_RATE_SECONDS = 10.0
_ROOM_TO_GROW = 16
"""Tokens per row that must be free when a sequence joins, lest it has to leave again at once."""
_STEPS_UNTIL_TRUSTED = 100
"""Steps without failure after which the batch may be as large as before the last one."""


class QueueFull(MnemicError):
    """So many requests wait that another is turned away."""


class PromptTooLong(UsageError):
    """A prompt that can never fit."""


class EngineClosed(MnemicError):
    """The engine has stopped."""


@dataclass(frozen=True)
class Load:
    """What the engine is doing, and has done.

    Attributes:
        resident_tokens: tokens whose keys later ones see, all rows together.
        allocated_bytes: keys and values set aside for them.
        peak_resident_tokens: the most that was ever held.
        tokens_per_second: sampled, over the last ten seconds.
        restarts: how often a sequence gave up its cache to make room.
    """

    active_requests: int = 0
    active_sequences: int = 0
    waiting_requests: int = 0
    resident_tokens: int = 0
    allocated_bytes: int = 0
    peak_resident_tokens: int = 0
    tokens_per_second: float = 0.0
    generated_tokens: int = 0
    finished_sequences: int = 0
    restarts: int = 0


class Engine:
    """
    Args:
        end_ids: tokens that end a text.
        markers: None for a model without mementos, which is served with full attention.
        max_batch: rows that decode together, at most.
        kv_budget: tokens whose keys may be held, at most; every row counts as long as the longest one, since the cache
            is a rectangle.
        max_waiting: requests that may wait.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        end_ids: Sequence[int],
        markers: MarkerIds | None = None,
        rules: MementoRules | None = None,
        max_batch: int = 16,
        kv_budget: int = 65_536,
        max_waiting: int = 64,
    ) -> None:
        rules = (rules or MementoRules()) if markers is not None else MementoRules(keep_last_n_blocks=-1)
        check_model(model, rules)
        EvictingCache.of(model, 1)
        self.tokenizer, self.rules = tokenizer, rules
        self.max_batch, self.kv_budget, self.max_waiting = max_batch, kv_budget, max_waiting
        config = model.config.get_text_config(decoder=True)
        self.context = int(getattr(config, "max_position_embeddings", None) or _UNBOUNDED)
        markers = markers if markers is not None else _NO_MARKERS
        self._rows = EngineRows(model.eval(), rules, markers, frozenset(end_ids), self.context, kv_budget)
        self._special = [str(token) for token in tokenizer.all_special_tokens]
        self._waiting: deque[list[Continuation]] = deque()
        self._rows_allowed, self._good_steps = max_batch, 0
        self._sampled: deque[tuple[float, int]] = deque()
        self._generated = self._finished = self._restarts = self._peak = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="memento-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop after the step under way; what is not finished fails."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive() and not self._closed

    @property
    def longest_prompt(self) -> int:
        """Tokens that a prompt may have."""
        return min(self.context, self.kv_budget) - 1

    def submit(self, request: Request) -> None:
        """
        Raises:
            PromptTooLong: it can never fit.
            UsageError: more sequences than rows.
            QueueFull: too many wait already.
            EngineClosed: it has stopped.
        """
        length, count = len(request.prompt.ids), request.sampling.n
        if length > self.longest_prompt:
            raise PromptTooLong(f"the prompt has {length} tokens; this server takes at most {self.longest_prompt}")
        if count > self.max_batch or count * (length + 1) > self.kv_budget:
            raise UsageError(
                f"n={count} sequences of {length} tokens and more do not fit; this server has {self.max_batch} rows "
                f"and holds {self.kv_budget} tokens"
            )
        group = [Continuation(request, index, self.tokenizer, self._special) for index in range(count)]
        with self._changed:
            if self._closed:
                raise EngineClosed("the engine has stopped")
            if len(self._waiting) >= self.max_waiting:
                raise QueueFull(f"{self.max_waiting} requests are waiting already; try again later")
            self._waiting.append(group)
            self._changed.notify_all()

    def cancel(self, request: Request) -> None:
        """Nobody listens to it any more: its rows are freed before the next step."""
        request.cancelled = True
        with self._changed:
            self._changed.notify_all()

    def load(self) -> Load:
        rows, since = self._rows, time.monotonic() - _RATE_SECONDS
        with self._changed:
            waiting = len({one.request.number for group in self._waiting for one in group})
            recent = sum(count for at, count in self._sampled if at >= since)
        return Load(
            active_requests=len({one.request.number for one in rows.active}),
            active_sequences=len(rows.active),
            waiting_requests=waiting,
            resident_tokens=rows.resident,
            allocated_bytes=rows.allocated_bytes,
            peak_resident_tokens=self._peak,
            tokens_per_second=recent / _RATE_SECONDS,
            generated_tokens=self._generated,
            finished_sequences=self._finished,
            restarts=self._restarts,
        )

    def _run(self) -> None:
        rows = self._rows
        while True:
            with self._changed:
                while not (self._closed or self._waiting or rows.active):
                    self._changed.wait()
                if self._closed:
                    break
            try:
                self._drop_cancelled()
                self._admit()
                if rows.active:
                    self._step()
            except Exception as error:  # the thread must live, whatever happens to those it was serving
                _log.exception("the engine lost its batch")
                for one in rows.active:
                    one.request.fail(f"the server failed: {error}")
                rows.clear()
        for one in [*rows.active, *(one for group in self._waiting for one in group)]:
            one.request.fail("the server was stopped")
        rows.clear()

    def _step(self) -> None:
        """Sample for every row, let go of those that end, and feed the others."""
        rows = self._rows
        rows.cap_blocks()
        assert rows.batch is not None
        going, ended = [], []
        for index, one in enumerate(rows.active):
            try:
                reason = rows.sample(index)
                if reason is None:
                    going.append(index)
                else:
                    ended.append((one, reason, rows.batch.rows[index]))
            except Exception as error:
                _log.exception("a request failed while its next token was sampled")
                one.request.fail(str(error))
        self._count(len(rows.active))
        rows.keep([index for index in going if not rows.active[index].request.cancelled])
        self._finished += len(ended)
        for one, reason, row in ended:  # whoever hears of the end finds the room free
            one.finish(reason, row)
        self._make_room()
        if not rows.active:
            return
        try:
            rows.feed()
        except Exception as error:
            self._recover(error)
            return
        self._peak = max(self._peak, rows.resident)
        self._good_steps += 1
        if self._good_steps >= _STEPS_UNTIL_TRUSTED:
            self._rows_allowed = self.max_batch

    def _admit(self) -> None:
        """Let the first in the queue in, if there is room: one a step, so that the others go on in between."""
        rows = self._rows
        with self._changed:
            group = self._waiting[0] if self._waiting else None
        if group is None:
            return
        count = len(rows.active) + len(group)
        needed = max(rows.longest, len(group[0].request.prompt.ids), group[0].peak) + _ROOM_TO_GROW
        if rows.active and (count > self._rows_allowed or count * needed > self.kv_budget):
            return
        with self._changed:
            self._waiting.popleft()
        try:
            rows.let_in(group)
        except Exception as error:
            _log.exception("a prompt could not be read")
            group[0].request.fail(f"the prompt could not be read: {error}")
        self._peak = max(self._peak, rows.resident)

    def _make_room(self) -> None:
        """The youngest give way until the coming token of every row fits the budget."""
        rows = self._rows
        while len(rows.active) > 1 and len(rows.active) * (rows.longest + 1) > self.kv_budget:
            youngest = max(range(len(rows.active)), key=lambda i: (rows.active[i].request.number, i))
            one = rows.active[youngest]
            one.restarts += 1
            self._restarts += 1
            rows.keep([index for index in range(len(rows.active)) if index != youngest])
            with self._changed:
                self._waiting.appendleft([one])

    def _recover(self, error: Exception) -> None:
        """A step failed for all rows: read them again in smaller batches, so that the one at fault ends up alone."""
        _log.error("a step failed", exc_info=error)
        failed = self._rows.active
        self._rows_allowed, self._good_steps = max(1, len(failed) // 2), 0
        self._rows.clear()
        if len(failed) == 1:
            failed[0].request.fail(f"the model failed: {error}")
            return
        with self._changed:
            self._waiting.extendleft([one] for one in reversed(failed))

    def _drop_cancelled(self) -> None:
        with self._changed:
            self._waiting = deque(group for group in self._waiting if not group[0].request.cancelled)
        rows = self._rows
        rows.keep([index for index, one in enumerate(rows.active) if not one.request.cancelled])

    def _count(self, tokens: int) -> None:
        now = time.monotonic()
        with self._changed:
            self._generated += tokens
            self._sampled.append((now, tokens))
            while self._sampled[0][0] < now - _RATE_SECONDS:
                self._sampled.popleft()
