"""MAD: six skills, each a task, and one score (Poli et al. 2024, arXiv 2403.17844).

`mad` is the baseline of each skill, `mad:changes=true` also every setting that differs from it in one option.
"""

from mnemic.catalogue import parse_spec
from mnemic.errors import UsageError, nearest
from mnemic.tasks.base import TaskConfig
from mnemic.tasks.compression import Compression
from mnemic.tasks.fuzzy_recall import FuzzyRecall
from mnemic.tasks.in_context_recall import InContextRecall, NoisyRecall
from mnemic.tasks.memorization import Memorization
from mnemic.tasks.selective_copy import SelectiveCopy

__all__ = ["SKILLS", "mad_settings"]

_BASELINES: tuple[TaskConfig, ...] = (
    InContextRecall(),
    NoisyRecall(),
    FuzzyRecall(),
    SelectiveCopy(form="mad", length=256),
    Compression(),
    Memorization(),
)
SKILLS = tuple(task.name for task in _BASELINES)
"""Names of the six tasks."""

_CHANGES: dict[str, dict[str, tuple[float, ...]]] = {
    "in-context-recall": {"vocab": (32, 64, 128), "length": (256, 512, 1024)},
    "noisy-recall": {"vocab": (64, 128), "length": (256, 512, 1024), "noise": (0.4, 0.6, 0.8)},
    "fuzzy-recall": {"vocab": (32, 64, 128), "length": (256, 512, 1024)},
    "selective-copy": {"ids": (32, 64, 128), "length": (512, 1024), "data": (32, 64, 96)},
    "compression": {"ids": (32, 64, 128), "length": (64, 128, 256)},
    "memorization": {"vocab": (512, 1024, 2048, 4096, 8192)},
}


def mad_settings(spec: str) -> list[TaskConfig]:
    """The tasks of `mad` or `mad:changes=true`.

    Raises:
        UsageError: an option is none.
    """
    _, options = parse_spec(spec)
    changes = options.pop("changes", "false")
    if changes not in ("true", "false") or options:
        wrong = next(iter(options), "changes")
        raise UsageError(f"mad: '{wrong}' is no option, or cannot be so{nearest(wrong, ['changes'])}; mad:changes=true")
    found = list(_BASELINES)
    if changes == "true":
        found += [
            task.replace(**{option: value})
            for task in _BASELINES
            for option, values in _CHANGES[task.name].items()
            for value in values
        ]
    return found
