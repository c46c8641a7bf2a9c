"""What stands around an entity in the graph, for people to look at."""

from dataclasses import dataclass

import numpy as np

from mnemic.storage.phrases import cleaned, normalised
from mnemic.storage.view import Links, View

__all__ = ["Neighbour", "Neighbourhood", "neighbourhood"]


@dataclass(frozen=True)
class Neighbour:
    """Attributes:
    kind: "fact", "cooccur" (both names in one sentence; nobody claims more) or "synonym".
    label: the predicate of a fact, as it is read from `first` to `second` of the two names.
    weight: passages that state the fact, sentences with both names, cosine of the names.
    outward: the entity that was asked for is the subject.
    """

    name: str
    kind: str
    label: str
    weight: float
    outward: bool = True


@dataclass(frozen=True)
class Neighbourhood:
    """Attributes:
    names: the entities of that name, as they were written.
    passages: how many name one of them.
    neighbours: facts first, then by weight.
    """

    names: tuple[str, ...]
    passages: int
    neighbours: tuple[Neighbour, ...]


_ORDER = ("fact", "cooccur", "synonym")


def neighbourhood(view: View, name: str, limit: int) -> Neighbourhood:
    """The entities one step away, `limit` of them at most; empty where nothing has that name."""
    asked = {cleaned(name), normalised(name)}
    centre = {index for index, entity in enumerate(view.entities) if entity.norm_name in asked}
    found = [*_facts(view, centre), *_linked(view, centre, view.cooccurrences, "cooccur")]
    found += _linked(view, centre, view.synonyms, "synonym")
    found.sort(key=lambda each: (_ORDER.index(each.kind), -each.weight, each.name))
    names = dict.fromkeys(view.entities[index].name for index in sorted(centre))
    return Neighbourhood(tuple(names), _passages(view, centre), tuple(found[:limit]))


def _passages(view: View, centre: set[int]) -> int:
    if view.mentions is None or not centre:
        return 0
    inside = np.isin(view.mentions.columns, sorted(centre))
    return len(np.unique(view.mentions.row_of_entry[inside]))


def _facts(view: View, centre: set[int]) -> list[Neighbour]:
    found = []
    for index, fact in enumerate(view.facts):
        if fact.subject not in centre and fact.object not in centre:
            continue
        outward = fact.subject in centre
        other = fact.object_text if outward else view.entities[fact.subject].name
        if outward and fact.object >= 0:
            other = view.entities[fact.object].name
        support = 0 if view.support is None else len(view.support.row(index)[0])
        found.append(Neighbour(other, "fact", fact.predicate, float(support), outward))
    return found


def _linked(view: View, centre: set[int], links: Links, kind: str) -> list[Neighbour]:
    ends = sorted(centre)
    near = np.flatnonzero(np.isin(links.first, ends) | np.isin(links.second, ends))
    found = []
    for first, second, weight in zip(links.first[near], links.second[near], links.weights[near], strict=True):
        if int(first) in centre and int(second) in centre:
            continue
        other = int(second) if int(first) in centre else int(first)
        found.append(Neighbour(view.entities[other].name, kind, "", float(weight)))
    return found
