"""What callers may rely on, whichever language model answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Check", "Completion", "LLM", "Messages", "Metered", "MeteredLLM", "Totals", "Usage"]

Messages = Sequence[Mapping[str, str]]
Check = Callable[[Any], str | None]


@dataclass(frozen=True)
class Usage:
    """Tokens of one call.

    Attributes:
        estimated: the endpoint did not say, so these are guesses from the length of the text.
    """

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


@dataclass(frozen=True)
class Completion:
    """One accepted reply.

    Attributes:
        parsed: the reply as JSON, where a schema was given.
        usage: tokens of the reply that was accepted; a cached one has cost them once, long ago.
        cached: nothing was paid for this completion.
        seconds: how long the caller waited.
    """

    text: str
    parsed: Any | None
    usage: Usage
    cached: bool
    seconds: float


@dataclass(frozen=True)
class Totals:
    """What a client has done so far.

    Attributes:
        requests: answers that were paid for.
        cached: answers that were already there, or that another thread was just paying for.
        failed: calls that came to nothing.
        prompt_tokens, completion_tokens: of the paid answers.
        cost: of the paid answers, None where the model's price is not known.
        has_estimates: some endpoint did not report its usage.
    """

    requests: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    has_estimates: bool = False


class LLM(Protocol):
    """A language model that answers conversations. Safe to call from many threads."""

    model: str

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
        """Ask, and ask again up to twice with the complaint when the reply is not as it must be.

        Args:
            messages: `{"role", "content"}`, oldest first.
            response_schema: JSON schema of the reply. Without it the reply is any text that is not empty.
            check: what else must hold, of the parsed reply (of the text, without a schema): a complaint in words
                that the model can act on, or None.
            seed: also tells apart the samples of one prompt, which are else one call and one reply.
            tag: what the call is for, in the cache and in errors.

        Raises:
            BadReply: the replies were never as they must be.
            LLMError: there was no reply; `fatal` and `transient` say what that means.
        """
        ...


class Metered(Protocol):
    """What a build needs of the client behind its stages, to show and to stop its calls."""

    @property
    def totals(self) -> Totals: ...

    @property
    def waiting(self) -> str | None:
        """Why no call is being made, None while some are."""
        ...

    def stop(self) -> None:
        """End waits and refuse new calls with `Stopped`. Those on the wire are awaited and kept."""
        ...

    def go_on(self) -> None:
        """Take back `stop`."""
        ...


class MeteredLLM(LLM, Metered, Protocol):
    """A language model whose calls can be counted and stopped."""
