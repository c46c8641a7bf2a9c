"""How the runs of one machine share its cores."""

import pytest

from mnemic.errors import UsageError
from mnemic.training import provenance
from mnemic.training.launchers.local import LocalLauncher, threads_of_each


@pytest.mark.parametrize(("jobs", "threads"), [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_runs_share_the_cores(monkeypatch, jobs, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(provenance, "usable_cores", lambda: 6)
    assert threads_of_each(jobs) == threads


@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("5", 5), ("3,2", 3)])
def test_the_user_has_the_last_word_on_threads(monkeypatch, said, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert LocalLauncher(1, []).threads == LocalLauncher(64, []).threads == threads


@pytest.mark.parametrize("said", ["many", "0", "-1"])
def test_a_number_of_threads_that_is_none_is_named(monkeypatch, said):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    with pytest.raises(UsageError, match=f"OMP_NUM_THREADS is '{said}'"):
        LocalLauncher(2, [])
