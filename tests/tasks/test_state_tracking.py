"""Groups as tables, and their running products."""

import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from mnemic.errors import UsageError
from mnemic.tasks import parse_task
from mnemic.tasks.groups import composition, element_name, order
from mnemic.tasks.state_tracking import StateTracking

GROUPS = {"Z2": 2, "Z7": 7, "Z60": 60, "S3": 6, "A4": 12, "A5": 60, "S5": 120, "A4xZ5": 60, "S3xZ2xZ2": 24}


@pytest.mark.parametrize("group", GROUPS)
def test_the_axioms_of_a_group(group):
    table = composition(group)
    n = order(group)
    assert (table.shape, n) == ((n, n), GROUPS[group])
    assert (table[0] == np.arange(n)).all()
    assert (table[:, 0] == np.arange(n)).all()
    assert (np.sort(table, axis=0) == np.arange(n)[:, None]).all()
    assert (np.sort(table, axis=1) == np.arange(n)).all()
    a, b, c = np.random.default_rng(0).integers(n, size=(3, 5000))
    assert (table[table[a, b], c] == table[a, table[b, c]]).all()
    assert (table == table.T).all() == group.startswith("Z")


def test_permutations_compose_right_to_left():
    """(a·b)(i) = a(b(i)), elements in lexicographic order, by brute force."""
    elements = list(itertools.permutations(range(4)))
    even = [e for e in elements if sum(e[i] > e[j] for i in range(4) for j in range(i + 1, 4)) % 2 == 0]
    for group, members in (("S4", elements), ("A4", even)):
        table = composition(group)
        for i, j in itertools.product(range(len(members)), repeat=2):
            assert members[table[i, j]] == tuple(members[i][k] for k in members[j])


def test_the_golden_table_of_s3():
    assert composition("S3").tolist() == [
        [0, 1, 2, 3, 4, 5],
        [1, 0, 4, 5, 2, 3],
        [2, 3, 0, 1, 5, 4],
        [3, 2, 5, 4, 0, 1],
        [4, 5, 1, 0, 3, 2],
        [5, 4, 3, 2, 1, 0],
    ]
    assert [element_name("S3", e) for e in range(6)] == ["012", "021", "102", "120", "201", "210"]
    assert element_name("A4xZ5", 59) == "(3210,4)"


@pytest.mark.parametrize("group", ["S3", "A5", "Z60"])
def test_states_are_uniform_at_every_step_and_so_say_nothing_of_the_last_element(group):
    task = StateTracking(group=group, length=6)
    rows = task.sample("train", 30_000)
    for t in (0, 3, 5):
        assert chisquare(np.bincount(rows.labels[:, t] - 1, minlength=task.order)).pvalue > 1e-4
    if group == "S3":
        joint = 6 * (rows.input_ids[:, 5] - 1) + rows.labels[:, 5] - 1
        assert chisquare(np.bincount(joint, minlength=36)).pvalue > 1e-4


def test_only_the_last_product_is_asked():
    rows = StateTracking(group="S3", length=9, asked="last").sample("test", 50)
    every = StateTracking(group="S3", length=9).oracle(rows.input_ids)
    assert (rows.labels[:, -1] == every[:, -1]).all()
    assert (rows.labels[:, :-1] < 0).all()
    assert (rows.slices["steps"][:, -1] == 9).all()


@pytest.mark.parametrize(
    ("group", "part"),
    [("Z1", "1 elements"), ("Q8", "'Q8'"), ("S9", "up to 6"), ("Z2000", "2000 elements"), ("A4xx", "''"), ("", "''")],
)
def test_what_is_no_group_is_refused(group, part):
    with pytest.raises(UsageError, match=part):
        parse_task(f"state-tracking:group={group}")
