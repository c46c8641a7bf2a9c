"""The trained model on the same task with other lengths and loads, which it was not trained on."""

from typing import Any

from torch import nn

from mnemic.tasks.base import TaskConfig
from mnemic.tasks.tokens import TokenTask
from mnemic.training.evaluation import evaluate

__all__ = ["measure_variants"]

_TOKENS = 32_768  # read per variant, so that four times the length is not four times the wait
_FEW_ROWS_BITS = 10
Points = list[dict[str, Any]]


def measure_variants(
    model: nn.Module,
    task: TaskConfig,
    metrics: dict[str, float],
    rows: int,
    seed: int,
    batch_size: int,
    precision: str,
) -> tuple[dict[str, Points], Points]:
    """Measure the task's `loads()` on test rows.

    Args:
        metrics: of the task itself; it is one of the points.
        rows: the most rows of one variant.

    Returns:
        slices: changed option -> points, for variants that differ in one option and not in length.
        lengths: points by length, for those that differ in length alone.
    """
    slices: dict[str, Points] = {}
    lengths: Points = []
    for variant in task.loads():
        changed = _changed(task, variant)
        if len(changed) != 1 or variant.vocab_size > task.vocab_size or _has_few_rows(variant):
            continue
        count = min(rows, max(16, _TOKENS // variant.max_length))
        batch = max(1, batch_size * task.max_length // variant.max_length)
        found = evaluate(model, variant, "test", count, seed, batch_size=batch, precision=precision).metrics
        if variant.max_length != task.max_length:
            lengths.append({"length": variant.max_length, **_point(found)})
        else:
            slices.setdefault(changed[0], []).append({"value": str(getattr(variant, changed[0])), **_point(found)})
    if lengths:
        lengths.append({"length": task.max_length, **_point(metrics)})
    for option, points in slices.items():
        points.append({"value": str(getattr(task, option)), **_point(metrics)})
        points.sort(key=lambda point: float(point["value"]) if point["value"].replace(".", "").isdigit() else 0.0)
    return slices, sorted(lengths, key=lambda point: int(point["length"]))


def _has_few_rows(variant: TaskConfig) -> bool:
    """Whether there are hardly enough different rows for test rows of their own."""
    return isinstance(variant, TokenTask) and variant.row_bits() < _FEW_ROWS_BITS


def _changed(task: TaskConfig, variant: TaskConfig) -> list[str]:
    return [name for name in type(task).model_fields if getattr(task, name) != getattr(variant, name)]


def _point(metrics: dict[str, float]) -> dict[str, float]:
    if "accuracy" in metrics:
        low, high = metrics["accuracy_low"], metrics["accuracy_high"]
        return {"accuracy": metrics["accuracy"], "loss": metrics["loss"], "low": low, "high": high}
    return {"loss": metrics["loss"], "low": metrics["loss_low"], "high": metrics["loss_high"]}
