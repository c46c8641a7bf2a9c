"""Corpora and conversations as users name them: `corpus:DIR`, `conversation:FILE`."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, Field

from mnemic.catalogue import CORPORA, parse_spec, resolve
from mnemic.errors import UsageError
from mnemic.options import validated
from mnemic.storage.corpora import Corpus, open_conversations, open_corpus
from mnemic.storage.corpora.chats import read_chat_corpus

__all__ = ["ConversationFile", "CorpusFolder", "Source", "content_digest", "parse_source"]

_CHATS = (".jsonl", ".jsonl.gz")
_OTHERS = (".json", ".json.gz")
_QUESTIONS = ".questions"


class Source(BaseModel, ABC, frozen=True, extra="forbid"):
    """Where passages and questions about them lie."""

    path: str = Field(description="where it lies")

    def open(self) -> list[Corpus]:
        """
        Raises:
            UsageError: there is nothing to ask, or something is not as it must be; the message says what, and where.
        """
        corpora = self._read()
        if not any(corpus.asked for corpus in corpora):
            raise UsageError(f"'{self.path}' has no question with known evidence, so nothing can be asked")
        return corpora

    @abstractmethod
    def _read(self) -> list[Corpus]:
        """Every corpus that lies there."""


class CorpusFolder(Source):
    """Passages, and questions with the passages that answer them.

    A folder with `corpus.jsonl` of {"id", "title", "text"} and `questions.jsonl` of {"id", "question", "answer",
    "evidence": [ids]}, perhaps `triples.jsonl` of {"id", "entities", "triples"}; or MuSiQue's or HotpotQA's
    `corpus.json`, `questions.json` and `openie*.json`. Any of them may be gzipped.
    """

    path: str = Field(description="the folder")

    def _read(self) -> list[Corpus]:
        return [open_corpus(self.path)]


class ConversationFile(Source):
    """Conversations, and questions with the turns or sessions that answer them.

    A chat as JSON lines, `chat.jsonl`, with questions in it or in `chat.questions.jsonl` beside it; or LoCoMo's or
    LongMemEval's JSON; or a folder of such files. Any of them may be gzipped.
    """

    path: str = Field(description="the file, or a folder of files")
    questions: str = Field("", description="the questions of a chat; unset: NAME.questions.jsonl beside it, if any")
    summaries: bool = Field(True, description="keep the session summaries that the data set brings, if any")

    def _read(self) -> list[Corpus]:
        path = Path(self.path)
        if not path.exists():
            raise UsageError(f"conversation '{self.path}' does not exist; name a file, or a folder of files")
        found = (
            self._folder(path) if path.is_dir() else self._file(path, Path(self.questions) if self.questions else None)
        )
        if not self.summaries:
            return [corpus.without("summary") for corpus in found]
        told = sum(passage.level == "summary" for corpus in found for passage in corpus.passages)
        if told:
            note = f"{told} session summaries that the data set brings are read too; summaries=false leaves them out"
            found[0] = replace(found[0], notes=(note, *found[0].notes))
        return found

    def _folder(self, folder: Path) -> list[Corpus]:
        """All conversations of a folder; one that stands in two files is read once, where it has more to it."""
        if self.questions:
            raise UsageError("questions belongs to one chat; in a folder they lie beside each, as NAME.questions.jsonl")
        names = sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith((*_CHATS, *_OTHERS)))
        chosen: dict[frozenset[str], tuple[str, Corpus]] = {}
        notes: list[str] = []
        for path in names:
            if Path(path.name.removesuffix(".gz")).stem.endswith(_QUESTIONS):
                continue
            for corpus in self._file(path, None):
                turns = frozenset(p.text for p in corpus.passages if p.level == "turn")
                other, there = chosen.get(turns, ("", None))
                if there is not None:
                    notes.append(f"{path.name} holds a conversation that {other} holds too; it is read once")
                if there is None or len(corpus.passages) > len(there.passages):
                    chosen[turns] = (path.name, corpus)
        corpora = [corpus for _, corpus in chosen.values()]
        if not corpora:
            raise UsageError(
                f"folder '{folder}' holds no conversations; they are files .jsonl or .json, gzipped or not"
            )
        corpora[0] = replace(corpora[0], notes=(*corpora[0].notes, *notes))
        return corpora

    @staticmethod
    def _file(path: Path, questions: Path | None) -> list[Corpus]:
        if not path.name.endswith(_CHATS):
            if questions is not None:
                raise UsageError("questions belongs to a chat of JSON lines; this file has its own")
            return list(open_conversations(path))
        stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
        beside = (path.with_name(f"{stem}{_QUESTIONS}{end}") for end in _CHATS)
        return [read_chat_corpus(path, questions or next((file for file in beside if file.is_file()), None))]


def parse_source(spec: str) -> Source | None:
    """What "corpus:DIR" or "conversation:FILE,option=value" names; None for anything else.

    Raises:
        UsageError: no path, or an unknown option.
    """
    name, options = parse_spec(spec)
    if name not in CORPORA:
        return None
    kind: type[Source] = resolve(CORPORA[name].target)
    if "" in options:
        options["path"] = options.pop("")
    if not options.get("path"):
        raise UsageError(f"'{spec}' names no path; write {CORPORA[name].example}")
    return validated(f"task '{name}'", kind, options)


def content_digest(corpora: Sequence[Corpus]) -> str:
    """12 hex digits over passages, stored extractions and questions: equal where the same is asked of the same."""
    whole = hashlib.sha256()
    for corpus in corpora:
        for passage in corpus.passages:
            whole.update(json.dumps([passage.id, passage.title, passage.text, passage.level, passage.session]).encode())
        for extracted in corpus.stored or ():
            whole.update(json.dumps([[f.subject, f.predicate, f.object] for f in extracted.facts]).encode())
        for question in corpus.asked:
            gold = [sorted(question.evidence), sorted(question.sessions)]
            whole.update(json.dumps([question.id, question.text, question.kind, question.answerable, *gold]).encode())
    return whole.hexdigest()[:12]
