"""Questions on one context: read it once, then note and answer, or answer at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnemic.errors import UsageError
from mnemic.teaching.rwr.completion import Decoding, Speed, complete_after_common_start
from mnemic.teaching.rwr.layout import Mode, QueryPosition, Reply, parse_reply, prompt_text

__all__ = ["Answered", "Answers", "answer_questions", "end_ids", "prompt_ids", "prompts_ids"]


@dataclass(frozen=True)
class Answered:
    """
    Attributes:
        text: what the model wrote, of which `reply` is the reading.
        tokens: how many that were.
    """

    question: str
    text: str
    reply: Reply
    tokens: int


@dataclass(frozen=True)
class Answers:
    answered: list[Answered]
    speed: Speed


def answer_questions(
    model: Any,
    tokenizer: Any,
    context: str,
    questions: Sequence[str],
    *,
    mode: Mode = "summary+answer",
    query_position: QueryPosition = "after",
    decoding: Decoding | None = None,
    batch_size: int = 16,
) -> Answers:
    """Single pass over a context; with the question after it, it is read once for all questions.

    Args:
        mode: note and answer, the note alone, or the answer at once.

    Raises:
        UsageError: no questions, or a context longer than the model's positions.
    """
    if not questions:
        raise UsageError("questions is empty; ask at least one")
    decoding = decoding or Decoding()
    texts = [prompt_text(context, question, mode=mode, query_position=query_position) for question in questions]
    prompts = prompts_ids(tokenizer, texts)
    longest, limit = max(map(len, prompts)) + decoding.max_new_tokens, _positions(model)
    if limit is not None and longest > limit:
        raise UsageError(
            f"context and question are {max(map(len, prompts)):,} tokens and {decoding.max_new_tokens} may follow, but "
            f"the model has {limit:,} positions; shorten the context, or let it be answered in segments"
        )
    speed = Speed()
    written = complete_after_common_start(
        model, prompts, decoding, end_ids(model, tokenizer), batch_size=batch_size, speed=speed
    )
    replies = [str(tokenizer.decode(tokens, skip_special_tokens=True)) for tokens in written]
    answered = [
        Answered(question, text, parse_reply(text, mode=mode), len(tokens))
        for question, text, tokens in zip(questions, replies, written, strict=True)
    ]
    return Answers(answered, speed)


def prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a prompt: what the tokenizer begins every text with, and no end, for the reply follows."""
    return prompts_ids(tokenizer, [text])[0]


def prompts_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The same of many prompts, which fast tokenizers read on all cores."""
    if not texts:
        return []
    begin = list(tokenizer.encode(""))[:1]
    begin = begin if begin and begin[0] == getattr(tokenizer, "bos_token_id", None) else []
    return [[*begin, *ids] for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end a text, by the model's generation config and the tokenizer."""
    given = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    several = given if isinstance(given, list) else [given]
    return sorted({int(token) for token in (*several, tokenizer.eos_token_id) if token is not None})


def _positions(model: Any) -> int | None:
    """Tokens beyond which the model knows no position; None for recurrent models, which count none."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    limit = getattr(config, "max_position_embeddings", None)
    return int(limit) if limit else None
