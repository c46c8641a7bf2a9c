"""Whether a task fits into a model, asked before anything is trained."""

from typing import Any

from torch import nn

from mnemic.errors import UsageError
from mnemic.training.rows import Rows

__all__ = ["check_fit"]


def check_fit(model: nn.Module, task: Rows) -> None:
    """
    Raises:
        UsageError: the task has ids that the model has not, or rows longer than the model takes.
    """
    config: Any = getattr(model, "config", None)
    vocabulary = getattr(config, "vocab_size", None)
    if vocabulary is not None and vocabulary < task.vocab_size:
        raise UsageError(
            f"task {task.spec()} has {task.vocab_size} ids, the model's vocab_size is {vocabulary}; "
            f"give the model vocab_size={task.vocab_size} or the task a smaller vocabulary"
        )
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and longest < task.max_length:
        raise UsageError(
            f"task {task.spec()} has rows of {task.max_length} tokens, the model takes at most {longest} "
            f"(max_position_embeddings); make the task shorter or the model longer"
        )
