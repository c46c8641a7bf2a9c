"""What training must do; that a killed run ends as one that was not is in test_resume.py."""

import math

import pytest
import torch
from safetensors.torch import load_file

from mnemic.errors import MnemicError, UsageError
from mnemic.tasks import parse_task
from mnemic.training import checkpoint
from mnemic.training.best import load_best
from mnemic.training.config import TrainConfig
from mnemic.training.loop import train
from mnemic.training.objective import AskedLoss, scored_batch
from mnemic.training.progress import Interrupted
from mnemic.training.runs import RunSpec

QUICK = TrainConfig(steps=12, batch_size=8, eval_every=5, eval_rows=16, warmup=0, device="cpu")


def changed(**options) -> TrainConfig:
    return TrainConfig.model_validate({**QUICK.model_dump(), **options})


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_small_memory_learns_to_recall(make_model, task):
    model = make_model(hidden_size=32, num_hidden_layers=2, layers=[{"mixer": "attention", "conv_size": 4}])
    config = changed(steps=400, batch_size=64, lr=1e-2, eval_every=20, eval_rows=64, stop_at=0.99)
    result = train(model, task, config)
    assert result.curve[-1]["valid_accuracy"] >= 0.99
    assert result.stopped_early_at == result.steps == result.curve[-1]["step"] < 400


def test_curve_has_a_point_per_evaluation_and_one_at_the_end(make_model, task):
    result = train(make_model(), task, QUICK)
    assert [point["step"] for point in result.curve] == [5, 10, 12]
    assert all(point["train_loss"] > 0 and 0 <= point["valid_accuracy"] <= 1 for point in result.curve)
    assert result.stopped_early_at is None
    assert result.tokens_per_second > 0
    assert result.seconds > 0


@pytest.mark.parametrize("pieces", [2, 8])
def test_a_batch_cut_into_pieces_gives_the_same_steps(make_model, pieces):
    # text-like training on every position, where rows of different counts would be weighed wrongly by a mean of means
    task = parse_task("mqar:pairs=2,length=16,vocab=32,train_on=all")
    whole, cut = make_model(), make_model()
    train(whole, task, QUICK)
    train(cut, task, changed(accumulation=pieces))
    torch.testing.assert_close(weights(whole), weights(cut), rtol=1e-3, atol=1e-5)


def test_same_seed_same_weights_and_another_seed_others(make_model, task):
    runs = [make_model() for _ in range(3)]
    for model, seed in zip(runs, (1, 1, 2), strict=True):
        train(model, task, changed(seed=seed))
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert not torch.equal(weights(runs[0]), weights(runs[2]))


def test_patience_ends_a_run_that_gains_nothing(make_model, task):
    result = train(make_model(), task, changed(steps=200, eval_every=2, patience=3, lr=1e-12, weight_decay=0))
    losses = [point["valid_loss"] for point in result.curve]
    assert result.stopped_early_at is not None
    assert min(losses[-3:]) >= min(losses[:-3])


def test_gradients_are_clipped(make_model, task):
    """AdamW moves a weight by about the rate whatever the gradient's size, so look at the gradient itself."""
    model, norms = make_model(), []
    step = torch.optim.AdamW.step

    def look(optimizer, *args, **kwargs):
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())
        return step(optimizer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", look)
        train(model, task, changed(clip=0.01))
    assert norms == pytest.approx([0.01] * 12, rel=1e-3)


def test_task_larger_than_the_vocabulary_is_refused_before_training(make_model, tmp_path):
    with pytest.raises(UsageError, match=r"has 64 ids, the model's vocab_size is 32; give the model vocab_size=64"):
        train(make_model(), parse_task("mqar:pairs=2,length=16,vocab=64"), QUICK, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_task_longer_than_the_model_is_refused(make_model, task):
    with pytest.raises(UsageError, match="rows of 16 tokens, the model takes at most 8"):
        train(make_model(max_position_embeddings=8), task, QUICK)


def test_folder_with_checkpoints_needs_resume(make_model, task, tmp_path):
    train(make_model(), task, QUICK, tmp_path)
    with pytest.raises(UsageError, match="already holds checkpoints"):
        train(make_model(), task, QUICK, tmp_path)
    with pytest.raises(UsageError, match="another task or other training options"):
        train(make_model(), task, changed(lr=0.5), tmp_path, resume=True)
    again = train(make_model(), task, changed(checkpoint_every=7), tmp_path, resume=True)
    assert again.steps == 12, "how often checkpoints are written is no part of the result"


def test_stop_writes_a_checkpoint_and_resuming_ends_alike(make_model, task, tmp_path):
    whole, stopped = make_model(), make_model()
    result = train(whole, task, QUICK)
    calls = []
    with pytest.raises(Interrupted, match="stopped after step 4 of 12"):
        train(stopped, task, QUICK, tmp_path, should_stop=lambda: calls.append(1) or len(calls) == 4)
    fresh = make_model(seed=9)
    resumed = train(fresh, task, QUICK, tmp_path, resume=True)
    assert torch.equal(weights(whole), weights(fresh))
    assert without_time(resumed.curve) == without_time(result.curve)


def without_time(curve):
    return [{name: value for name, value in point.items() if name != "seconds"} for point in curve]


class Explodes(torch.nn.Module):
    """Stands in for a feed-forward and gives infinity from its n-th call with gradients on."""

    def __init__(self, inner, at):
        super().__init__()
        self.inner, self.at, self.calls = inner, at, 0

    def forward(self, x):
        self.calls += torch.is_grad_enabled()
        return self.inner(x) * (math.inf if self.calls > self.at else 1.0)


def test_infinite_loss_names_step_and_layer_and_keeps_the_last_checkpoint(make_model, task, tmp_path):
    model = make_model(num_hidden_layers=2)
    block = model.model.layers[1]
    block.feed_forward = Explodes(block.feed_forward, at=8)  # the first call measures memory, so this is step 8
    with pytest.raises(MnemicError) as said:
        train(model, task, changed(checkpoint_every=3), tmp_path)
    message = str(said.value)
    assert "at step 8" in message
    assert "'model.layers.1.feed_forward' (Explodes)" in message
    assert "step-00000006" in message
    assert "learning rate below" in message
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert [checkpoint.step_of(path) for path in checkpoint.checkpoints(tmp_path / "checkpoints")] == [3, 6]


def test_bad_parameter_and_bad_gradient_are_told_apart(make_model, task):
    model = make_model()
    with torch.no_grad():
        model.model.norm.weight[3] = math.nan
    with pytest.raises(MnemicError, match=r"at step 1; .* parameter 'model\.norm\.weight'"):
        train(model, task, QUICK)
    model = make_model()
    model.model.norm.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(MnemicError, match=r"norm of the gradient is nan .* the gradient of 'model\.norm\.weight'"):
        train(model, task, QUICK)


def test_full_disk_in_training_is_one_clear_message(make_model, task, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(MnemicError, match="the disk is full"):
        train(make_model(), task, QUICK, tmp_path)


def test_bf16_trains(make_model, task):
    result = train(make_model(), task, changed(precision="bf16"))
    assert math.isfinite(result.curve[-1]["valid_loss"])


def test_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="accumulation 3 does not divide batch_size 8"):
        changed(accumulation=3)


def test_new_model_depends_on_the_seed_alone(task):
    spec = RunSpec(task, "attention", training=QUICK)
    torch.rand(17)
    first = weights(spec.new_model())
    assert torch.equal(first, weights(spec.new_model()))
    assert not torch.equal(first, weights(spec.with_training(seed=3).new_model()))


def test_computing_layers_again_changes_nothing_but_memory(make_model, task):
    plain, again = make_model(num_hidden_layers=2), make_model(num_hidden_layers=2)
    train(plain, task, QUICK)
    forwards = []
    again.model.layers[0].mixer.register_forward_hook(lambda *_: forwards.append(torch.is_grad_enabled()))
    train(again, task, changed(checkpointing=True))
    assert forwards.count(True) >= 2 * QUICK.steps
    torch.testing.assert_close(weights(plain), weights(again))


def test_a_model_without_checkpointing_says_so(task):
    class Bare(torch.nn.Module):
        supports_gradient_checkpointing = False

    with pytest.raises(UsageError, match="checkpointing=false"):
        train(Bare(), task, changed(checkpointing=True))


def test_the_best_evaluation_is_kept_by_loss_or_by_a_judge(make_model, task, tmp_path):
    model = make_model()
    result = train(model, task, changed(steps=20, lr=0.3, eval_every=2), tmp_path / "loss", keep_best=True)
    lowest = min(result.curve, key=lambda point: point["valid_loss"])
    assert lowest["step"] != result.steps
    found = load_best(tmp_path / "loss" / "best", model)
    assert found == lowest
    rows = task.sample("valid", QUICK.eval_rows, QUICK.seed)
    batch = scored_batch(rows)
    with torch.no_grad():
        loss = AskedLoss(model)(batch) / len(batch.targets)
    assert float(loss) == pytest.approx(lowest["valid_loss"], rel=1e-5)
    scores = [0.2, 0.9, 0.4, 0.9]
    options = {"keep_best": True, "judge": lambda _: scores.pop(0)}
    judged = train(make_model(), task, changed(steps=8, eval_every=2), tmp_path / "judge", **options)
    assert [point["valid_accuracy"] for point in judged.curve] == [0.2, 0.9, 0.4, 0.9]
    assert load_best(tmp_path / "judge" / "best", make_model())["step"] == 4


def test_frozen_weights_are_trained_around_and_not_written(make_model, task, tmp_path):
    def half_frozen():
        model = make_model(tie_word_embeddings=False)
        model.model.embed_tokens.requires_grad_(False)
        return model

    whole = half_frozen()
    train(whole, task, QUICK)
    stops = iter(range(1, 100))
    options = {"directory": tmp_path, "should_stop": lambda: next(stops) == 5}
    with pytest.raises(Interrupted):
        train(half_frozen(), task, changed(checkpoint_every=100), **options)
    (kept,) = checkpoint.checkpoints(tmp_path / "checkpoints")
    assert "model.embed_tokens.weight" not in load_file(kept / "model.safetensors")
    resumed = half_frozen()
    train(resumed, task, changed(checkpoint_every=100), tmp_path, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
