"""Equal budgets, a learning rate for each memory from validation rows, and test rows for the judged runs alone."""

import pytest

from mnemic.errors import UsageError
from mnemic.report.records import Record
from mnemic.tasks import parse_task
from mnemic.tasks.mqar import MQAR
from mnemic.training.comparison import Comparison, best_rate, compare
from mnemic.training.config import TUNING_SEED, TrainConfig
from mnemic.training.runs import run
from mnemic.training.shell import Shell, layers_of, model_config

QUICK = TrainConfig(steps=6, batch_size=4, eval_every=6, eval_rows=4, device="cpu")


def plan(**options) -> Comparison:
    task = parse_task("mqar:pairs=2,length=16,vocab=32")
    defaults = {
        "memories": ("attention", "mamba2"),
        "shell": Shell(width=16, depth=1),
        "training": QUICK,
        "test_rows": 8,
    }
    return Comparison(task, **{**defaults, **options})


def searched(lr: float, steps=None, status="done", **metrics) -> Record:
    training = {"steps": 100, "stopped_early_at": steps}
    return Record.model_validate(
        {"run": str(lr), "purpose": "search", "status": status, "task": "t", "memory": "m", "lr": lr,
         "training": training, "metrics": metrics}
    )  # fmt: skip


def test_best_rate_has_the_best_accuracy_then_the_lowest_loss():
    assert best_rate([searched(1, accuracy=0.5, loss=1.0), searched(2, accuracy=0.6, loss=2.0)]) == 2
    assert best_rate([searched(1, accuracy=0.6, loss=1.0), searched(2, accuracy=0.6, loss=0.9)]) == 2
    assert best_rate([searched(1, loss=2.0), searched(2, loss=1.0), searched(3, loss=None)]) == 2


def test_of_rates_that_were_stopped_at_the_target_the_fastest_is_best():
    runs = [searched(1, 60, accuracy=0.999, loss=0.01), searched(2, 40, accuracy=0.991, loss=0.02)]
    assert best_rate(runs, stop_at=0.99) == 2
    assert best_rate([*runs, searched(3, accuracy=0.995, loss=0.0)], stop_at=0.99) == 2


def test_failed_rates_are_never_best():
    assert best_rate([searched(1, status="failed"), searched(2, accuracy=0.1, loss=9)]) == 2
    assert best_rate([searched(1, status="failed")]) is None


def test_search_uses_its_own_seed_and_never_the_test_split(tmp_path, monkeypatch):
    asked = []
    rows = MQAR.sample

    def watch(self, split, count, seed=0, start=0):
        asked.append((split, seed))
        return rows(self, split, count, seed, start)

    monkeypatch.setattr(MQAR, "sample", watch)
    of_search = run(plan().search_run("attention", 1e-3), tmp_path / "search")
    assert {split for split, _ in asked} == {"train", "valid"}
    assert {seed for _, seed in asked} == {TUNING_SEED} == {of_search.seed}
    asked.clear()
    run(plan().judged_run("attention", 3, 1e-3), tmp_path / "final")
    assert ("test", 3) in asked
    assert {seed for _, seed in asked} == {3}


def test_each_memory_is_judged_with_its_own_rate_under_one_budget(tmp_path):
    comparison = plan(seeds=(0, 1), lr_grid=(1e-3, 3e-3, 1e-2))
    records = compare(comparison, tmp_path, jobs=2)
    assert sorted((r.memory, r.seed) for r in records) == [(m, s) for m in ("attention", "mamba2") for s in (0, 1)]
    for memory in comparison.memories:
        of_memory = [r for r in records if r.memory == memory]
        assert len({r.lr for r in of_memory}) == 1
        assert {r.lr_on_edge for r in of_memory} == {of_memory[0].lr in (1e-3, 1e-2)}
    assert {(r.training["steps"], r.training["batch_size"], r.shell["width"]) for r in records} == {(6, 4, 16)}
    assert {layer["conv_size"] for r in records for layer in r.layers} == {4}, "one convolution for all"


def test_a_single_rate_is_taken_without_a_search(tmp_path):
    runs = plan(lr_grid=(2e-3,)).first_runs()
    assert [(r.purpose, r.training.lr, r.lr_on_edge) for r in runs] == [("final", 2e-3, False)] * 2


def test_all_rates_failing_leaves_no_judged_run(tmp_path):
    wild = TrainConfig.model_validate({**QUICK.model_dump(), "clip": 0, "steps": 10})
    assert compare(plan(memories=("attention",), lr_grid=(1e30, 1e31), training=wild), tmp_path, jobs=2) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memories": ("attention", "attention")}, "memory attention is given twice"),
        ({"seeds": (1, 1)}, "seed 1 is given twice"),
        ({"seeds": ()}, "no seed"),
        ({"seeds": (TUNING_SEED,)}, "chooses the learning rates"),
        ({"lr_grid": ()}, "no learning rate"),
        ({"memories": ("attentoin",)}, "unknown memory 'attentoin'; did you mean 'attention'"),
        ({"memories": ("attention:haeds=2",)}, "unknown option 'haeds'; did you mean 'heads'"),
        ({"memories": ("attention:heads=3",)}, "width 16 does not split into 3 heads"),
        ({"memories": ("attention+mamba2",)}, "2 memories take turns, but depth is 1"),
        ({"memories": ("attention:8",)}, "'8' in memory 'attention:8' is not option=value"),
    ],
)
def test_wrong_use_is_refused_before_anything_runs(options, message):
    with pytest.raises(UsageError, match=message):
        plan(**options).check()


def test_memories_take_turns_and_keep_their_own_convolution():
    layers = layers_of("mamba2:state=8,conv_size=2+attention", conv=4)
    config = model_config(layers, Shell(width=16, depth=4), 32)
    assert [layer["mixer"] for layer in config.layers] == ["mamba2", "attention"] * 2
    assert [layer["conv_size"] for layer in config.layers] == [2, 4, 2, 4]
    assert config.layers[0]["state"] == 8


def test_run_ids_differ_where_results_do_and_only_there():
    base = plan().judged_run("attention", 0, 1e-3)
    same = base.with_training(checkpoint_every=7, keep_checkpoints=5)
    assert same.id == base.id
    others = [
        plan().judged_run("attention", 1, 1e-3),
        plan().judged_run("attention", 0, 2e-3),
        plan().judged_run("mamba2", 0, 1e-3),
        plan(shell=Shell(width=32, depth=1)).judged_run("attention", 0, 1e-3),
        plan(test_rows=9).judged_run("attention", 0, 1e-3),
        base.with_training(steps=7),
        plan().search_run("attention", 1e-3),
    ]
    assert len({run.id for run in [base, *others]}) == len(others) + 1
