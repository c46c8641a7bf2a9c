"""Prompts from the command line or a file, as a taught model takes them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic.errors import UsageError
from mnemic.teaching.memento.decoding import Prompt
from mnemic.teaching.memento.served_model import ServedModel

__all__ = ["AskedPrompt", "read_prompts"]


@dataclass(frozen=True)
class AskedPrompt:
    """
    Attributes:
        id: unique in its file.
        messages: of a chat, as {"role", "content"}.
        text: instead of messages, what the model is to go on with; in a chat model's template it is the user's turn.
    """

    id: str
    messages: tuple[dict[str, str], ...] = ()
    text: str = ""

    def encoded(self, served: ServedModel) -> Prompt:
        """The tokens, with who wrote each."""
        if not self.messages and getattr(served.tokenizer, "chat_template", None) is None:
            return served.text(self.text)
        return served.chat(self.messages or ({"role": "user", "content": self.text},))[0]


def read_prompts(path: Path) -> list[AskedPrompt]:
    """Prompts of a file: .jsonl with one object a line, anything else one prompt a line.

    An object has "prompt", a text or a list of messages as in records of traces, or "messages"; and maybe an "id".

    Raises:
        UsageError: the file cannot be read, a line is none of this, or an id comes twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from None
    is_json = path.suffix == ".jsonl"
    prompts = [
        _of_object(line, f"{path}, line {number}", str(number)) if is_json else AskedPrompt(str(number), text=line)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not prompts:
        raise UsageError(f"'{path}' holds no prompt")
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise UsageError(f"{path}: the id '{prompt.id}' comes twice")
        seen.add(prompt.id)
    return prompts


def _of_object(line: str, where: str, number: str) -> AskedPrompt:
    try:
        data: Any = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where} is no JSON: {error}") from None
    asked = data.get("messages", data.get("prompt")) if isinstance(data, dict) else None
    if isinstance(asked, str) and asked.strip():
        return AskedPrompt(str(data.get("id", number)), text=asked)
    if isinstance(asked, list) and asked and all(map(_is_message, asked)):
        return AskedPrompt(str(data.get("id", number)), messages=tuple(asked))
    raise UsageError(
        f'{where} has no prompt; write {{"prompt": "a text"}} or {{"messages": [{{"role", "content"}}, ...]}}'
    )


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))
