"""Who answers: a transformers model on this machine, or a language model behind a server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Protocol

from mnemic.errors import UsageError
from mnemic.llm import LLM
from mnemic.tasks.prompts import Question

__all__ = ["Answerer", "ModelAnswerer", "Reply", "ServerAnswerer"]

TAG: Final = "ask"
_ROOM: Final = 512


@dataclass(frozen=True)
class Reply:
    """What was said, and what it took; None where nobody knows."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None


class Answerer(Protocol):
    """Answers questions, from many threads at once. `settings` is all that its answers depend on, as JSON."""

    @property
    def settings(self) -> dict[str, Any]: ...

    def __call__(self, question: Question) -> Reply:
        """Raises MnemicError where it cannot."""
        ...


class ServerAnswerer:
    """A model behind an OpenAI-compatible server, asked in one message: the context, the question, and how its answer
    begins.

    Args:
        max_tokens: of a reply; None: what the task states, but at least 512, for chat models say more than they must
            and a reply that is cut short is no answer.
    """

    def __init__(self, llm: LLM, *, max_tokens: int | None = None) -> None:
        self._llm, self._max_tokens = llm, max_tokens

    @property
    def settings(self) -> dict[str, Any]:
        return {"model": self._llm.model, "max_tokens": self._max_tokens}

    def __call__(self, question: Question) -> Reply:
        most = self._max_tokens or max(_ROOM, question.max_tokens)
        done = self._llm.complete([{"role": "user", "content": question.text}], max_tokens=most, tag=TAG)
        usage = done.usage
        seconds = None if done.cached else done.seconds
        if usage.estimated:
            return Reply(done.text, seconds=seconds)
        return Reply(done.text, usage.prompt_tokens, usage.completion_tokens, seconds)


class ModelAnswerer:
    """A causal language model of transformers, greedy, one question at a time however many threads ask.

    Args:
        name: which one, in the records.
        chat: put the question into the tokenizer's chat template and begin the reply with the question's prefix;
            None: where there is a template.
        max_tokens: of a reply; None: what the task states.

    Raises:
        UsageError: `chat` without a template.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str, chat: bool | None = None, max_tokens: int | None = None
    ) -> None:
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if chat and not has_template:
            raise UsageError(f"the tokenizer of {name} has no chat template; leave chat out")
        self._model, self._tokenizer, self._name = model, tokenizer, name
        self._chat = has_template if chat is None else chat
        self._max_tokens = max_tokens
        self._lock = Lock()

    @property
    def settings(self) -> dict[str, Any]:
        return {"model": self._name, "chat": self._chat, "max_tokens": self._max_tokens}

    def __call__(self, question: Question) -> Reply:
        from mnemic.teaching.rwr.answering import end_ids
        from mnemic.teaching.rwr.completion import Decoding, complete

        prompt = self._prompt(question)
        decoding = Decoding(max_new_tokens=self._max_tokens or question.max_tokens)
        self._check_room(len(prompt), decoding.max_new_tokens)
        with self._lock:
            began = time.monotonic()
            (written,) = complete(self._model, [prompt], decoding, end_ids(self._model, self._tokenizer), batch_size=1)
            seconds = time.monotonic() - began
        text = str(self._tokenizer.decode(written, skip_special_tokens=True))
        return Reply(text, len(prompt), len(written), seconds)

    def _prompt(self, question: Question) -> list[int]:
        from mnemic.teaching.rwr.answering import prompt_ids

        if not self._chat:
            return prompt_ids(self._tokenizer, question.text)
        messages = [{"role": "user", "content": question.context + question.query}]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(self._tokenizer(text + question.prefix.lstrip(), add_special_tokens=False)["input_ids"])

    def _check_room(self, prompt: int, reply: int) -> None:
        config = self._model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None)
        if limit and prompt + reply > limit:
            raise UsageError(
                f"the prompt has {prompt:,} tokens and {reply:,} may follow, but {self._name} has {limit:,} positions; "
                "use a smaller length"
            )
