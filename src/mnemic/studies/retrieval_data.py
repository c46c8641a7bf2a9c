"""The data of the studies of recall methods, from the folder that the user names; none of them comes with mnemic."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mnemic.catalogue import find_study
from mnemic.errors import UsageError
from mnemic.storage.corpora import Corpus, open_conversations, open_corpus
from mnemic.storage.corpora.files import find

__all__ = ["WHOLE", "Data", "locomo", "musique", "wiki"]

WHOLE = 100
"""Questions of the published MuSiQue subset; with fewer, thresholds are those for a part of it."""


@dataclass(frozen=True)
class Data:
    """Attributes:
    name: as a task of `mnemic compare`.
    digest: of the files.
    """

    name: str
    corpora: tuple[Corpus, ...]
    digest: str

    @property
    def questions(self) -> int:
        """Those that can be judged."""
        return sum(len(corpus.asked) for corpus in self.corpora)


def musique(path: Path) -> Data:
    """
    Raises:
        UsageError: `path` holds something else.
    """
    folder = _folder(path, "musique")
    corpus = open_corpus(folder) if folder is not None else None
    if folder is None or corpus is None or not corpus.questions or corpus.stored is None:
        lacks = "passages" if corpus is None else "questions" if not corpus.questions else "stored triples"
        raise UsageError(f"--data '{path}' has no {lacks}; it must be {find_study('hipporag').data}")
    return _corpus_data(folder, corpus)


def wiki(path: Path) -> Data:
    """A corpus to be indexed, with questions or without.

    Raises:
        UsageError: `path` holds none.
    """
    folder = _folder(path, "2wikimultihopqa")
    if folder is None:
        raise UsageError(
            f"--data '{path}' has no corpus.json; it must be a folder of passages, such as 2WikiMultihopQA"
        )
    return _corpus_data(folder, open_corpus(folder))


def locomo(path: Path) -> Data:
    """
    Raises:
        UsageError: `path` holds something else.
    """
    found = path if path.is_file() else None
    for folder in (path / "locomo", path):
        found = found or find(folder, "conversations.json", "locomo10.json")
    if found is None:
        raise UsageError(f"--data '{path}' has no conversations; it must be {find_study('memgas').data}")
    corpora = tuple(open_conversations(found))
    if not any(corpus.questions for corpus in corpora):
        raise UsageError(f"the conversations of '{found}' have no questions with evidence")
    return Data(f"conversation:{found.parent.name}", corpora, _digest([found]))


def _folder(path: Path, name: str) -> Path | None:
    """Where the passages lie: in `path` or in its folder of that name; None: in neither."""
    folder = path / name if (path / name).is_dir() else path
    return folder if folder.is_dir() and find(folder, "corpus.json", "corpus.jsonl") else None


def _corpus_data(folder: Path, corpus: Corpus) -> Data:
    return Data(f"corpus:{folder.name}", (corpus,), _digest(p for p in folder.iterdir() if ".json" in p.name))


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]
