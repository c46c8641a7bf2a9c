"""A language model for tests and trials: it answers by rule, at once, and always the same."""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mnemic.llm.asking import ask_until_good
from mnemic.llm.cache import Reply
from mnemic.llm.errors import LLMError, Stopped
from mnemic.llm.json_schema import refuse_unknown_keywords
from mnemic.llm.protocol import Check, Completion, Messages, Totals, Usage
from mnemic.llm.request import Request, estimate_tokens

__all__ = ["Call", "FakeLLM", "Rule"]


@dataclass(frozen=True)
class Call:
    """What a rule sees of a request.

    Attributes:
        text: contents of all messages, one after another.
        asked_again: how often the model has been told to correct its reply.
    """

    messages: tuple[Mapping[str, str], ...]
    tag: str
    seed: int | None
    max_tokens: int | None
    asked_again: int

    @property
    def text(self) -> str:
        return "\n".join(message["content"] for message in self.messages)


When = str | Callable[[Call], bool]
Answer = Any
Rule = tuple[When, Answer]


@dataclass
class FakeLLM:
    """The first rule that fits answers.

    Args:
        rules: (when, answer). `when` is a regular expression, searched for in the conversation, or a predicate of the
            call. The answer is a text; or an exception, which is raised; or a function of the call that returns one of
            these; anything else is sent as JSON.
        model: the name it goes by.

    Attributes:
        calls: all that was asked, re-asking included, in the order in which it came in.
    """

    rules: Sequence[Rule]
    model: str = "fake"
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = Totals()
        self._stopped = False

    @property
    def totals(self) -> Totals:
        with self._lock:
            return self._totals

    @property
    def waiting(self) -> str | None:
        return None

    def stop(self) -> None:
        self._stopped = True

    def go_on(self) -> None:
        self._stopped = False

    def complete(
        self,
        messages: Messages,
        *,
        response_schema: Mapping[str, Any] | None = None,
        check: Check | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        tag: str = "",
    ) -> Completion:
        """See `LLM.complete`."""
        if response_schema is not None:
            refuse_unknown_keywords(response_schema)
        began = time.monotonic()
        sampling = {"temperature": temperature, "max_tokens": max_tokens}
        first = Request(self.model, tuple(dict(m) for m in messages), sampling, seed, response_schema)

        def ask(request: Request) -> Reply:
            again = (len(request.messages) - len(first.messages)) // 2
            return self._answer(request, Call(request.messages, tag, seed, max_tokens, again))

        reply, parsed = ask_until_good(ask, first, check, tag)
        return Completion(reply.text, parsed, reply.usage, False, time.monotonic() - began)

    def _answer(self, request: Request, call: Call) -> Reply:
        if self._stopped:
            raise Stopped("stopped before the next request was sent")
        with self._lock:
            self.calls.append(call)
        answer = self._by_rule(call)
        answer = answer(call) if callable(answer) else answer
        if isinstance(answer, BaseException):
            raise answer
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        usage = Usage(request.prompt_estimate, estimate_tokens(text), estimated=True)
        with self._lock:
            was = self._totals
            self._totals = replace(
                was,
                requests=was.requests + 1,
                prompt_tokens=was.prompt_tokens + usage.prompt_tokens,
                completion_tokens=was.completion_tokens + usage.completion_tokens,
                has_estimates=True,
            )
        return Reply(text, usage)

    def _by_rule(self, call: Call) -> Answer:
        for when, answer in self.rules:
            if when(call) if callable(when) else re.search(when, call.text):
                return answer
        raise LLMError(f"FakeLLM has no rule for a request that ends {call.text[-120:]!r}")
