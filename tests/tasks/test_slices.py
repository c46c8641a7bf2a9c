"""What the slices claim, against a reader that goes through a row token by token."""

import numpy as np
import pytest

from mnemic.tasks import UNASKED, parse_task
from mnemic.tasks.joint_recall import SEP


def in_pairs(row, told, width=1):
    """(key, where its value stands) of `told` tokens of context, then (key, None) of what is asked behind it."""
    for t in range(0, told, width + 1):
        yield tuple(row[t : t + width]), t + width
    for t in range(told, len(row) - width + 1, width + 1):
        yield tuple(row[t : t + width]), None


def read_mqar(task, row, labels):
    match task.form:
        case "mad":
            for t in range(0, len(row), 2):
                yield (row[t],), None
                yield (row[t],), t + 1
        case "compositional":
            yield from in_pairs(row, 3 * task.pairs, 2)
        case _:
            yield from in_pairs(row, 2 * (task.pairs * task.passes + task.updates))


def read_associative_recall(task, row, labels):
    yield from in_pairs(row, 2 * task.pairs)


def read_joint_recall(task, row, labels):
    header, asking = [], False
    for t, token in enumerate(row):
        asking |= token == SEP
        if token >= task._first_context:
            header = [*header, token] if t and row[t - 1] >= task._first_context else [token]
        elif token >= 10 + task.values:
            yield (*header, token), None if asking else t + 1


READERS = {"mqar": read_mqar, "associative-recall": read_associative_recall, "joint-recall": read_joint_recall}


@pytest.mark.parametrize(
    "spec",
    [
        "mqar:vocab=256",
        "mqar:vocab=256,passes=2,pairs=5",
        "mqar:vocab=256,filler=random",
        "mqar:form=mad,vocab=16,length=64",
        "mqar:form=compositional,vocab=256,pairs=9",
        "mqar:form=forgetting,vocab=256,updates=3",
        "associative-recall",
        "joint-recall:contexts=4,keys=3",
        "joint-recall:contexts=2-4,keys=1-5",
        "joint-recall:contexts=2,keys=3,levels=3,queries=4,sample_ids=true",
    ],
)
def test_distance_load_and_age_rank(spec):
    task = parse_task(spec)
    rows = task.sample("train", 300)
    for r, (row, labels) in enumerate(zip(rows.input_ids.tolist(), rows.labels.tolist(), strict=True)):
        at = [t for t, label in enumerate(labels) if label != UNASKED]
        told: dict[tuple, int] = {}
        want = []
        for key, where in READERS[task.name](task, row, labels):
            if where is not None:
                told[key] = where
            elif key in told:
                want.append((told[key], len(told), sum(other > told[key] for other in told.values())))
        assert [row[where] for where, _, _ in want] == [labels[t] for t in at]
        got = zip(*(rows.slices[name][r, at].tolist() for name in ("distance", "load", "age_rank")), strict=True)
        assert list(got) == [(t - where, load, rank) for t, (where, load, rank) in zip(at, want, strict=True)]


def test_slices_of_stacked_rows():
    task = parse_task("mqar:form=stacked,vocab=64,passes=3,pairs=6")
    rows = task.sample("train", 300)
    for r, keys in enumerate(rows.input_ids.tolist()):
        for t in range(18, 24):
            last = max(s for s in range(18) if keys[s] == keys[t])
            got = tuple(int(rows.slices[name][r, t]) for name in ("distance", "load", "age_rank"))
            assert got == (t - last, 6, 17 - last)


def test_slices_of_induction():
    rows = parse_task("induction:length=32").sample("train", 300)
    for r, row in enumerate(rows.input_ids.tolist()):
        assert rows.slices["distance"][r, -1] == 31 - (row.index(1) + 1)
        assert (rows.slices["load"][r, -1], rows.slices["age_rank"][r, -1]) == (1, 0)
    rows = parse_task("induction:length=32,form=repeat").sample("train", 10)
    for t in range(16, 31):
        assert (rows.slices["distance"][:, t] == 15).all(), "the answer stands behind the same token of the first half"
        assert (rows.slices["age_rank"][:, t] == 30 - t).all()


def test_joint_recall_slices_tell_the_size_of_the_row():
    rows = parse_task("joint-recall:contexts=2-4,keys=1-5").sample("train", 500)
    asked = rows.labels != UNASKED
    contexts, keys, load = (rows.slices[name][asked] for name in ("contexts", "keys", "load"))
    assert (contexts * keys == load).all()
    assert (set(contexts), set(keys)) == ({2, 3, 4}, {1, 2, 3, 4, 5})
    assert (asked.sum(axis=1) == np.where(asked, rows.slices["load"], 0).max(axis=1)).all()


def test_repeats_count_how_often_the_asked_pair_was_told():
    rows = parse_task("associative-recall:pairs=6,vocab=8").sample("train", 300)
    assert rows.slices["repeats"][:, -1].tolist() == [row[0:-1:2].count(row[-1]) for row in rows.input_ids.tolist()]
