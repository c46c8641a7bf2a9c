import pytest

from mnemic.report.findings import headline, leaders, warnings_about
from mnemic.report.summary import group_runs


@pytest.fixture
def scored(make_record):
    """Records whose accuracies and intervals are given: name -> (accuracy, low, high)."""

    def make(**scores):
        return [
            make_record(
                "mamba2",
                memory=name.replace("_", "-"),
                metrics={"accuracy": value, "accuracy_low": low, "accuracy_high": high},
                cost={"memory_bytes": 1024 * (index + 1)},
            )
            for index, (name, (value, low, high)) in enumerate(scores.items())
        ]

    return make


def test_a_clear_winner_is_named_with_its_cost_and_the_next(scored):
    groups = group_runs(scored(a=(0.5, 0.45, 0.55), b=(0.9, 0.88, 0.92), c=(0.1, 0.0, 0.2)))
    assert headline(groups) == (
        "b recalled best: accuracy 0.900 (0.880 to 0.920), holding 2 KiB a sequence. "
        "Next: a, accuracy 0.500 (0.450 to 0.550), holding 1 KiB a sequence."
    )


def test_overlapping_intervals_are_no_difference(scored):
    groups = group_runs(scored(a=(0.90, 0.88, 0.92), b=(0.91, 0.89, 0.93), c=(0.1, 0.0, 0.2)))
    assert [group.label for group in leaders(groups)] == ["b", "a"]
    assert headline(groups) == (
        "b and a recalled best, with no significant difference between them "
        "(b 0.910, a 0.900; the 95 % intervals overlap). Of these, a holds least: 1 KiB a sequence."
    )


def test_when_all_overlap_nobody_is_best(scored):
    text = headline(group_runs(scored(a=(0.90, 0.88, 0.92), b=(0.91, 0.89, 0.93))))
    assert text.startswith("No significant difference between the 2 memories (b 0.910, a 0.900")
    assert "best" not in text


def test_an_overlap_with_an_also_ran_does_not_make_a_leader(scored):
    groups = group_runs(scored(a=(0.90, 0.85, 0.95), b=(0.84, 0.80, 0.88), c=(0.78, 0.76, 0.84)))
    assert [group.label for group in leaders(groups)] == ["a", "b"]


def test_chance_is_not_recall(scored):
    text = headline(group_runs(scored(a=(0.01, 0.004, 0.02), b=(0.009, 0.003, 0.02))))
    assert text == "Nothing was told apart from chance (0.008); the best was a, accuracy 0.010 (0.004 to 0.020)."


def test_no_seed_among_several_makes_certainty(make_record):
    """Two seeds that differ widely leave the order open."""
    runs = [
        make_record("mamba2", seed, run=f"{name}{seed}", memory=name, metrics={"accuracy": value})
        for name, values in (("a", (1.0, 0.2)), ("b", (0.5, 0.5)))
        for seed, value in enumerate(values)
    ]
    assert "No significant difference" in headline(group_runs(runs))


def test_text_is_judged_by_loss_and_by_recall_hits(text_records):
    text = headline(group_runs(text_records))
    assert text.startswith("attention, gated-deltanet and mamba2 predicted the text best")
    assert "(11.3 % of all) the loss is 0.918 for attention and 1.348 for sliding-window." in text


def test_nothing_finished(failed_record):
    assert headline(group_runs([failed_record])) == "No run of this task finished."


def test_warnings(recall_records, text_records, failed_record, make_record):
    found = warnings_about([*recall_records, failed_record])
    assert found == [
        (
            "mamba2: the best learning rate (0.005) is on the edge of the grid (0.001, 0.003, 0.005); "
            "a wider grid may find a better one."
        ),
        "mamba2: 1 run failed: loss became NaN at step 120",
    ]
    assert [note[:9] for note in warnings_about(text_records)] == ["One seed:"]
    pairs = [make_record(like, seed) for like in ("attention", "gated-deltanet") for seed in (0, 1)]
    assert [note[:9] for note in warnings_about(pairs)] == ["Two seeds"]
    unequal = warnings_about([make_record("mamba2"), make_record("attention", training={"steps": 9000})])
    assert any(note.startswith("Not the same steps everywhere (mamba2 500, attention 9000)") for note in unequal)
