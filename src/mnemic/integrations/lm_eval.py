"""Tasks for lm-evaluation-harness: a folder for its `--include_path`, drawn once, so that all models get the same.

python -m mnemic.integrations.lm_eval FOLDER TASK… [--rows N] [--split SPLIT] [--seed S] [--form FORM]
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click
import yaml

from mnemic.errors import MnemicError, UsageError
from mnemic.integrations import exported
from mnemic.integrations.questions import is_told_in_tokens, questions
from mnemic.tasks import parse_task
from mnemic.tasks.base import Split, TaskConfig

__all__ = ["Form", "export", "task_name"]

Form = Literal["auto", "likelihood", "reply"]

_MODULE = "mnemic_exported"
_LONGEST_NAME = 80


def export(
    tasks: Sequence[TaskConfig], folder: Path, *, rows: int = 100, split: Split = "test", seed: int = 0,
    form: Form = "auto",
) -> list[str]:  # fmt: skip
    """Write each task's questions and its YAML.

    Args:
        rows: of the split; a row may ask several questions.
        form: "likelihood": `acc` says whether the answer is the likeliest continuation, token by token; for models
            trained on the task. "reply": the model writes as much as the task states, and `score`, `exact` and `f1` are
            those of `mnemic ask`; for models that follow a prompt. "auto": likelihood for tasks in tokens.

    Returns:
        the names that `lm_eval --tasks` takes.

    Raises:
        UsageError: a task that asks nothing, or two of one name.
    """
    names = [task_name(task) for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two tasks would be called {', '.join(twice)}; export one of them into another folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(exported.__file__, folder / f"{_MODULE}.py")
    for task, name in zip(tasks, names, strict=True):
        asked = questions(task, split, rows, seed)
        lines = "".join(json.dumps(exported.document(*item), ensure_ascii=False) + "\n" for item in asked.items())
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        about = {
            "version": task.version, "task": task.spec(), "hash": task.hash(), "seed": seed, "rows": rows,
            "questions": hashlib.sha256(lines.encode()).hexdigest(),
        }  # fmt: skip
        by_reply = form == "reply" or (form == "auto" and not is_told_in_tokens(task))
        config = {
            "task": name,
            "test_split": split,
            "dataset_kwargs": {"file": f"{name}.jsonl"},
            "doc_to_text": "{{context}}{{query}}{{prefix}}",
            "metadata": {**about, "split": split},
            **(_reply(max(question.max_tokens for question in asked.values())) if by_reply else _LIKELIHOOD),
        }
        calls = ["custom_dataset: questions", *(["process_results: process_results"] if by_reply else [])]
        functions = "".join(f"{call.replace(': ', f': !function {_MODULE}.')}\n" for call in calls)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False) + functions, encoding="utf-8")
    return names


_LIKELIHOOD: dict[str, Any] = {
    "output_type": "loglikelihood",
    "doc_to_target": " {{answers | join(' ')}}",  # the delimiter is for other kinds of output
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
    ],
}


def _reply(max_tokens: int) -> dict[str, Any]:
    measures = ("score", "exact", "f1")
    return {
        "output_type": "generate_until",
        "doc_to_target": "{{answers | join(', ')}}",
        "generation_kwargs": {"until": [], "max_gen_toks": max_tokens, "do_sample": False},
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in measures],
    }


def task_name(task: TaskConfig) -> str:
    """ "mnemic_" and the task as one writes it, or the beginning of that and of the hash where it is long."""
    plain = "mnemic_" + re.sub(r"\W+", "_", task.spec()).strip("_")
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[: _LONGEST_NAME - 9]}_{task.hash()[:8]}"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("tasks", nargs=-1, required=True)
@click.option("--rows", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="test", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--form", type=click.Choice(["auto", "likelihood", "reply"]), default="auto", show_default=True)
def _main(folder: Path, tasks: tuple[str, ...], rows: int, split: Split, seed: int, form: Form) -> None:
    """Write TASKS, such as mqar:pairs=8,length=64, as tasks of lm-evaluation-harness into FOLDER."""
    try:
        names = export([parse_task(spec) for spec in tasks], folder, rows=rows, split=split, seed=seed, form=form)
    except MnemicError as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(2 if isinstance(wrong, UsageError) else 1)
    print(f"lm_eval --include_path {folder} --tasks {','.join(names)} --model …")


if __name__ == "__main__":
    _main()
