"""A language model whose failures are not lost where a recall method falls back on vectors."""

from typing import Any

from mnemic.errors import MnemicError
from mnemic.llm import LLMError, MeteredLLM, Totals
from mnemic.llm.protocol import Completion

__all__ = ["Watched"]


class Watched:
    """Passes everything on to a client, and counts what was asked: answers from the cache are calls that the method
    makes, and cost their tokens where there is no cache.

    Attributes:
        bad_replies: calls after which a method went on without an answer.
    """

    def __init__(self, client: MeteredLLM) -> None:
        self.model = client.model
        self.bad_replies = 0
        self._client = client
        self._fatal: LLMError | None = None
        self._calls = self._prompt = self._completion = 0

    @property
    def totals(self) -> Totals:
        return self._client.totals

    @property
    def waiting(self) -> str | None:
        return self._client.waiting

    def stop(self) -> None:
        self._client.stop()

    def go_on(self) -> None:
        self._client.go_on()

    @property
    def asked(self) -> Totals:
        """Calls with their tokens, cached or not."""
        return Totals(
            requests=self._calls,
            failed=self.bad_replies,
            prompt_tokens=self._prompt,
            completion_tokens=self._completion,
        )

    def complete(self, messages: Any, **options: Any) -> Completion:
        """See `LLM.complete`."""
        self._calls += 1
        try:
            reply = self._client.complete(messages, **options)
        except LLMError as failed:
            self.bad_replies += 1
            if failed.fatal or failed.transient:
                self._fatal = failed
            raise
        self._prompt += reply.usage.prompt_tokens
        self._completion += reply.usage.completion_tokens
        return reply

    def check(self, what: str) -> None:
        """
        Raises:
            MnemicError: the model could not be asked since the last time; a method that then falls back on vectors is
                not what is to be measured. A reply that made no sense is: that is how the model answers.
        """
        if self._fatal is not None:
            failed, self._fatal = self._fatal, None
            raise MnemicError(f"{what}: the language model could not be asked: {failed}")
