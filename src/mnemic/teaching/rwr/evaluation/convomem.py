"""ConvoMem (arXiv 2511.10523): questions about facts spread over many short conversations with an assistant.

A file is a list of test cases, each with questions ("evidenceItems") that share one history ("conversations"); its
evidence files, {"evidence_items": […]}, have for each question the evidence conversations alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Judging, Passage, Turn
from mnemic.teaching.rwr.evaluation.reading import AnyEntry, Entry, checked, read_entries

__all__ = ["read_convomem"]

_ABSTENTION: Final = "abstention_evidence"
_RUBRICS: Final = ("preference_evidence", "implicit_connection_evidence")
_CATEGORIES: Final = ("user_evidence", "assistant_facts_evidence", "changing_evidence", _ABSTENTION, *_RUBRICS)


class _Message(Entry):
    speaker: Literal["User", "Assistant"]
    text: str


class _Conversation(Entry):
    messages: tuple[_Message, ...]
    id: str | None = None


class _Question(Entry):
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    message_evidences: tuple[_Message, ...]
    conversations: tuple[_Conversation, ...] = ()
    category: str


class _Case(Entry):
    questions: tuple[_Question, ...] = Field(alias="evidenceItems", min_length=1)
    conversations: tuple[_Conversation, ...]


def read_convomem(path: str) -> Iterator[EvaluationItem]:
    """The questions of a file, or of all .json files of a folder.

    Raises:
        UsageError: nothing to read, or a field is missing or wrong.
    """
    root = Path(path).expanduser()
    files = sorted(root.rglob("*.json")) if root.is_dir() else [root]
    if not files:
        raise UsageError(f"folder '{path}' has no .json file")
    for file in files:
        name = file.relative_to(root).with_suffix("").as_posix() if root.is_dir() else file.name.partition(".")[0]
        for number, (place, case) in enumerate(_cases(file)):
            for which, question in enumerate(case.questions):
                yield _item(place, f"{name}/{number}/{which}", question, case.conversations)


def _cases(file: Path) -> Iterator[tuple[str, _Case]]:
    for place, row in read_entries(str(file), AnyEntry, "evidence_items"):
        fields = row.model_dump()
        if "question" in fields:
            question = checked(place, _Question, fields)
            yield place, _Case(evidenceItems=(question,), conversations=question.conversations)
        else:
            yield place, checked(place, _Case, fields)


def _item(place: str, name: str, question: _Question, conversations: tuple[_Conversation, ...]) -> EvaluationItem:
    category = _category(place, question.category)
    evidence = {(message.speaker, message.text.strip()) for message in question.message_evidences}
    passages, found = [], []
    for number, conversation in enumerate(conversations, start=1):
        said = [(message.speaker, message.text.strip()) in evidence for message in conversation.messages]
        turns = tuple(
            Turn(message.speaker.lower(), message.text, is_evidence)
            for message, is_evidence in zip(conversation.messages, said, strict=True)
        )
        passages.append(Passage(f"conversation {number}", turns))
        found += [passages[-1].id] if any(said) else []
    if not found and category != _ABSTENTION:
        raise UsageError(f"{place}: no conversation holds a message of field 'message_evidences' of '{name}'")
    judging: Judging = "rubric" if category in _RUBRICS else "fact"
    return EvaluationItem(
        id=name,
        context=tuple(passages),
        question=question.question,
        answers=(question.answer,),
        question_type=category,
        category="convomem",
        is_abstention=category == _ABSTENTION,
        evidence=tuple(found),
        judging="abstention" if category == _ABSTENTION else judging,
    )


def _category(place: str, written: str) -> str:
    """Files write it as a word of their own, such as "Changing" or "user_evidence"."""
    bare = "_".join(written.lower().replace("-", " ").split())
    for category in _CATEGORIES:
        if category.startswith(bare.removesuffix("_evidence")):
            return category
    raise UsageError(f"{place}: field 'category' is '{written}'; it must be one of {', '.join(_CATEGORIES)}")
