"""Recall problems: what is asked of a memory. Numpy only; a task knows nothing of models.

task = parse_task("mqar:pairs=8,length=64,vocab=256")
rows = task.sample("train", 64, seed=0)
"""

from mnemic.catalogue import find_task, parse_spec, resolve
from mnemic.errors import UsageError, nearest
from mnemic.tasks.base import UNASKED, Examples, Prompt, Split, TaskConfig
from mnemic.tasks.modified import modified

__all__ = ["UNASKED", "Examples", "Prompt", "Split", "TaskConfig", "parse_task"]


def parse_task(spec: str) -> TaskConfig:
    """The task that "name:option=value,…" describes.

    Raises:
        UsageError: no task of that name, no such option, or a value that it cannot take.
    """
    name, options = parse_spec(spec)
    task: type[TaskConfig] = resolve(find_task(name).target)
    if "" in options:
        if task.positional is None:
            value = options[""]
            raise UsageError(f"{name}: '{value}' is not option=value{nearest(value, task.model_fields)}")
        if task.positional in options:
            raise UsageError(f"{name}: '{task.positional}' is given twice")
        options[task.positional] = options.pop("")
    return modified(task, options)
