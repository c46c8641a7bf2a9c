"""What rules alone find in a passage: names, and which stand together in a sentence. They state no facts."""

from collections import Counter
from itertools import combinations

from mnemic.storage.extracted import Extracted
from mnemic.storage.names import names, sentences
from mnemic.storage.phrases import normalised
from mnemic.storage.view import Entity

__all__ = ["RULES", "extract_by_rules"]

RULES = "rules/1"
_MOST_IN_ONE_SENTENCE = 40  # a list of names says little about any two of them, and costs their square


def extract_by_rules(title: str, text: str) -> Extracted:
    """The names of a passage and how many of its sentences hold both of two. The title stands in every sentence."""
    whole = normalised(title)
    about = [Entity(title.strip(), whole, "span")] if len(whole) > 1 else []
    mentions: Counter[Entity] = Counter(about)
    pairs: Counter[tuple[Entity, Entity]] = Counter()
    known = {entity.norm_name: entity for entity in about}
    for sentence in sentences(text):
        here = []
        for name in names(sentence):
            norm = normalised(name)
            here.append(known.setdefault(norm, Entity(name, norm, "span")))
        mentions.update(here)
        together = sorted(dict.fromkeys([*about, *here]), key=lambda entity: entity.norm_name)
        pairs.update(combinations(together[:_MOST_IN_ONE_SENTENCE], 2))
    return Extracted(RULES, dict(mentions), dict(pairs))
