"""Words of a text as keyword search sees them: without case, accents and endings; of a question without stop words."""

import re
import unicodedata
from functools import lru_cache

from mnemic.storage.stemming import stem

__all__ = ["STOP_WORDS", "query_terms", "terms", "words"]

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about above after again against all am an and any are aren as at be because been before being "
        "below between both but by can cannot could couldn d did didn do does doesn doing don down during "
        "each few for from further had hadn has hasn have haven having he her here hers herself him himself "
        "his how i if in into is isn it its itself just ll m me more most mustn my myself no nor not now of "
        "off on once only or other our ours ourselves out over own re s same she should shouldn so some such "
        "t than that the their theirs them themselves then there these they this those through to too under "
        "until up ve very was wasn we were weren what when where which while who whom whose why will with won "
        "would wouldn you your yours yourself yourselves",
    )
)
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Runs of letters and digits in lower case, their accents taken off."""
    return _WORD.findall(_plain(text))


def terms(text: str) -> list[str]:
    """The stems of all words, in order."""
    return [stem(word) for word in words(text)]


def query_terms(text: str) -> list[str]:
    """The stems of a question, each once, in order, without stop words; with them where nothing else is left."""
    asked = words(text)
    telling = [word for word in asked if word not in STOP_WORDS]
    return list(dict.fromkeys(stem(word) for word in telling or asked))


def _plain(text: str) -> str:
    return text.lower() if text.isascii() else "".join(map(_without_marks, text.lower()))


@lru_cache(maxsize=10_000)
def _without_marks(letter: str) -> str:
    if letter.isascii():
        return letter
    return "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part)).lower()
