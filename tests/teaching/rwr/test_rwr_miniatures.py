"""Generated benchmarks: a reader that holds all of a context answers everything, one that holds too little does not."""

from collections import defaultdict
from dataclasses import replace

import pytest

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.helmet import CATEGORIES
from mnemic.teaching.rwr.evaluation.miniature_tasks import miniature_tasks
from mnemic.teaching.rwr.evaluation.miniatures import TYPES, miniatures
from mnemic.teaching.rwr.evaluation.rule_reader import RuleReader
from mnemic.teaching.rwr.evaluation.scoring import score

MAKERS = [(miniatures, TYPES), (miniature_tasks, CATEGORIES)]


def mean_scores(items, reader):
    found = defaultdict(list)
    for item in items:
        name = item.category if item.category in CATEGORIES else item.question_type
        found[name].append(score(item, reader(item).answer).score)
    return {name: sum(scores) / len(scores) for name, scores in found.items()}


@pytest.mark.parametrize(("make", "kinds"), MAKERS)
@pytest.mark.parametrize(("length", "each"), [(1, 10), (800, 10), (4000, 3)])
def test_the_context_suffices(make, kinds, length, each):
    assert mean_scores(make(each * len(kinds), length=length), RuleReader()) == dict.fromkeys(kinds, 1.0)


@pytest.mark.parametrize(("make", "kinds"), MAKERS)
def test_a_memory_that_is_too_small_fails(make, kinds):
    scores = mean_scores(make(20 * len(kinds), length=1000), RuleReader(recent=100))
    # the last examples show all labels, and who forgets all abstains
    easy = {"icl", "abstention"}
    assert all(scores[kind] <= 0.5 for kind in set(kinds) - easy), scores


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "abstention"])
def test_every_piece_of_evidence_is_needed(kind):
    for item in miniatures(8, length=300, types=(kind,)):
        needed = item.evidence[-1:] if kind == "knowledge-update" else item.evidence
        for lost in needed:
            rest = tuple(passage for passage in item.context if passage.id != lost)
            left = replace(item, context=rest, evidence=())
            assert score(item, RuleReader()(left).answer).score == 0


@pytest.mark.parametrize(("make", "kinds"), MAKERS)
def test_any_length_the_same_for_the_same_seed(make, kinds):
    for length in (200, 3000):
        lengths = [item.length() for item in make(len(kinds), length=length)]
        assert all(length * 0.85 <= found <= length * 1.15 + 250 for found in lengths), lengths
    first = list(make(len(kinds), length=300, seed=1))
    assert list(make(3, length=300, seed=1, start=2)) == first[2:5]
    assert [i.context for i in make(len(kinds), length=300, seed=2)] != [i.context for i in first]
    assert len({item.digest for item in first}) == len(first)


def test_evidence_is_marked_where_it_stands():
    for item in miniatures(14, length=400):
        marked = {passage.id for passage in item.context if any(turn.is_evidence for turn in passage.turns)}
        assert item.is_abstention or marked == set(item.evidence)


def test_wrong_options_are_named():
    with pytest.raises(UsageError, match=r"'riddle'.*"):
        list(miniatures(1, types=("riddle",)))
    with pytest.raises(UsageError, match=r"'rerankk'.*did you mean 'rerank'"):
        list(miniature_tasks(1, categories=("rerankk",)))
    with pytest.raises(UsageError, match="length 0"):
        list(miniatures(1, length=0))
    with pytest.raises(UsageError, match="recent"):
        RuleReader(0)
