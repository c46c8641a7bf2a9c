"""mnemic's tasks in inspect_ai, found by its entry point: `inspect eval mnemic/mqar -T pairs=8 --model …`.

Every task of the catalogue, those of other packages too, is registered by its name; none is imported until it is run.
"""

import hashlib
from typing import Any

from mnemic.catalogue import tasks
from mnemic.errors import MissingExtra
from mnemic.integrations.exported import document, process_results
from mnemic.integrations.questions import is_told_in_tokens, questions
from mnemic.options import format_option
from mnemic.tasks import parse_task
from mnemic.tasks.base import Split, TaskConfig

try:
    from inspect_ai import Task, task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
    from inspect_ai.solver import TaskState, generate
except ModuleNotFoundError:
    raise MissingExtra("tasks for inspect_ai", "inspect") from None

__all__ = ["recalled", "to_inspect"]

INSTRUCTION = (
    "Below is a sequence of words that follows a rule. At =? stands the word that the sequence itself gives away, "
    "because it was told before. Answer with this one word only.\n\n"
)


def to_inspect(
    config: TaskConfig, rows: int = 100, split: Split = "test", seed: int = 0, *, instruct: bool = True
) -> Task:
    """An inspect_ai Task with one sample per question; see :func:`mnemic.integrations.questions.questions`.

    Standard errors take the questions of one row as a cluster. The version is the task's; its hash and that of the
    prompts are in the metadata.

    Args:
        instruct: say before a question in tokens what is wanted, and end it in "=?"; without, for models that were
            trained on the task.

    Raises:
        UsageError: a task that asks nothing.
    """
    before, after = (INSTRUCTION, " =?") if instruct and is_told_in_tokens(config) else ("", "")
    samples = [
        Sample(
            input=f"{before}{question.text}{after}",
            target=list(question.answers),
            id=name,
            metadata={"row": name.rpartition("/")[0], **question.slices, "question": document(name, question)},
        )
        for name, question in questions(config, split, rows, seed).items()
    ]
    prompts = hashlib.sha256("\0".join(str(sample.input) for sample in samples).encode()).hexdigest()
    return Task(
        dataset=MemoryDataset(samples, name=config.spec()),
        solver=generate(),
        scorer=recalled(),
        version=config.version,
        metadata={"spec": config.spec(), "hash": config.hash(), "split": split, "seed": seed, "prompts": prompts},
    )


_MEASURES: Any = [mean(), stderr(cluster="row")]


@scorer(metrics={"score": _MEASURES, "exact": _MEASURES, "f1": _MEASURES})
def recalled() -> Scorer:
    """`score`, `exact` and `f1` as `mnemic ask` reports them: see :mod:`mnemic.teaching.asking.scoring`."""

    async def score(state: TaskState, target: Target) -> Score:
        reply = state.output.completion
        return Score(value=dict(process_results(state.metadata["question"], [reply])), answer=reply)

    return score


def _register(name: str) -> None:
    def make(rows: int = 100, split: Split = "test", seed: int = 0, instruct: bool = True, **options: Any) -> Task:
        written = ",".join(f"{option}={format_option(value)}" for option, value in options.items())
        return to_inspect(parse_task(f"{name}:{written}" if written else name), rows, split, seed, instruct=instruct)

    task(name=name)(make)


for _name in tasks():
    _register(_name)
