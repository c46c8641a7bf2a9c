"""A task's tokenizer as one of transformers: other people's tools read text, and look for a tokenizer by the model.

No id is added, since the model was trained without it: the end of a text, and padding, are an id that the task does not
use for anything a text holds.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from mnemic.errors import UsageError
from mnemic.integrations.questions import is_told_in_tokens
from mnemic.tasks.base import TaskConfig
from mnemic.tasks.prompts import APPROXIMATE, PromptTask
from mnemic.tasks.text import TextTask
from mnemic.tasks.tokenizers import FastTokenizer
from mnemic.tasks.tokens import TokenTask

__all__ = ["END", "save_tokenizer", "task_tokenizer"]

END = "<|end|>"
"""What the byte 0, which no text holds, stands for."""

_END_OF_ROW = "EOS"
_BARE = "{{ messages[-1]['content'] }}"  # a model of a task in tokens knows no roles, only rows


def save_tokenizer(task: TaskConfig, folder: Path) -> None:
    """Put a task's tokenizer beside a model that was trained on it; arguments and errors as :func:`task_tokenizer`."""
    task_tokenizer(task).save_pretrained(folder)


def task_tokenizer(task: TaskConfig) -> Any:
    """A transformers tokenizer with the ids of a task.

    Of a task in tokens each word is an id. Of a text it is the task's: bytes or BPE with the byte 0 as the end, or what
    the user gave, as transformers loads it.

    Raises:
        UsageError: one word stands for two ids, or the task is in neither tokens nor text.
    """
    if is_told_in_tokens(task):
        assert isinstance(task, TokenTask)
        return _of_words(task)
    if not isinstance(task, TextTask | PromptTask):
        raise UsageError(f"{task.spec()} has no tokenizer: it is neither in tokens nor a text")
    if task.tokenizer == "byte":
        return _with_end(_of_bytes())
    if task.tokenizer == APPROXIMATE:
        raise UsageError(f"{task.spec()}: tokenizer=approximate only counts; name one that makes tokens")
    if isinstance(task, TextTask) and task.tokenizer == "bpe":
        learned = task.text.tokenizer
        assert isinstance(learned, FastTokenizer)
        return _with_end(learned.file_content())
    path = Path(task.tokenizer).expanduser()
    return PreTrainedTokenizerFast(tokenizer_file=str(path)) if path.is_file() else AutoTokenizer.from_pretrained(path)


def _of_words(task: TokenTask) -> PreTrainedTokenizerFast:
    ids: dict[str, int] = {}
    for token in range(task.vocab_size):
        word = task.word(token)
        if word in ids:
            raise UsageError(
                f"{task.spec()}: '{word}' stands for the ids {ids[word]} and {token}; no text tells them apart"
            )
        ids[word] = token
    inner = Tokenizer(models.WordLevel(ids))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    filler = task.word(0)
    pad, end = _alone(filler), _alone(_END_OF_ROW if _END_OF_ROW in ids else filler)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=pad, eos_token=end, padding_side="left")
    made.chat_template = _BARE
    return made


def _alone(word: str) -> AddedToken:
    """Special where it is a word of its own, not inside another."""
    return AddedToken(word, single_word=True, normalized=False, special=True)


def _of_bytes() -> str:
    """A BPE without merges, whose id of each byte is the byte."""
    inner = Tokenizer(models.BPE({_letter(byte): byte for byte in range(256)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return inner.to_str()


def _with_end(content: str) -> PreTrainedTokenizerFast:
    file = json.loads(content)
    vocabulary = file["model"]["vocab"]
    vocabulary[END] = vocabulary.pop(_letter(0))
    inner = Tokenizer.from_str(json.dumps(file))
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END, pad_token=END, padding_side="left")


def _letter(byte: int) -> str:
    """How byte-level tokenizers write a byte: what prints as itself, the rest from U+0100 on in its order."""
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    if byte in prints:
        return chr(byte)
    return chr(0x100 + sum(other not in prints for other in range(byte)))
