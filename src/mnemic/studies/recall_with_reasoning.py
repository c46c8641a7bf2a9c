"""Recall with Reasoning: a recurrent model that writes down what it recalls before it answers (Ma et al. 2025, arXiv
2505.03320).

Six groups of claims at laptop scale, on key facts in noise. A and B: noting first recalls more than plain fine-tuning
on the same contexts, and more than the same model's direct answer. C: notes on segments keep accuracy at 4 to 16 times
the training length, where DeciMamba and ReMamba do not. D: that takes empty notes in training. E: short contexts lose
nothing. F: the state stays as it was.
"""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from mnemic.models import MnemicForCausalLM
from mnemic.report.records import Record
from mnemic.studies.base import Scale, StudyResult, check_start
from mnemic.studies.chains import model_folder, train_chains
from mnemic.studies.measuring import OnStudyEvent, Told, kept_or
from mnemic.studies.rwr_answers import Answered, answered
from mnemic.studies.rwr_claims import CASES, Case, Measured, claims
from mnemic.studies.rwr_figures import figures, sheets
from mnemic.studies.rwr_runs import SEEDS, ArmName, Question, SizeOf, questions, sizes, specs
from mnemic.tasks.key_facts import KeyFacts
from mnemic.teaching.rwr.compression import ReMamba
from mnemic.training.runs import RunSpec

__all__ = ["study"]

_NO_SEARCH = "all arms share one rate and one schedule, so that none is favoured; leave --search out"


def study(
    scale: Scale,
    seed: int,
    directory: Path,
    on_event: OnStudyEvent | None = None,
    *,
    jobs: int | None = None,
    search: bool = False,
) -> StudyResult:
    """Run the study with the seeds `seed`, `seed` + 1 and `seed` + 2; what is finished in `directory` is not repeated.

    Raises:
        UsageError: a tuning seed, a search, or `scale` is gpu and there is none.
    """
    seeds = range(seed, seed + SEEDS)
    check_start(scale, seeds, no_search=_NO_SEARCH if search else None)
    size = sizes(scale)
    runs = {each: specs(size, each, f"mnemic reproduce recall-with-reasoning --scale {scale} --seed {seed}")
            for each in seeds}  # fmt: skip
    longest_first = [runs[each][arm] for arm in runs[seed] for each in seeds]
    found = train_chains(longest_first, directory, on_event, jobs)
    records = {
        each: {arm: found[spec.id] for arm, spec in of_seed.items() if spec.id in found}
        for each, of_seed in runs.items()
    }
    disable_progress_bar()  # transformers': one for every model that is loaded
    measured = _measured(runs, records, size, directory, on_event)
    everything = [record for of_seed in records.values() for record in of_seed.values()]
    failed = [record for record in found.values() if record.status == "failed"]
    return StudyResult(
        tuple(claims(measured, records, failed)), tuple(everything), figures(size.length, measured),
        sheets(size, measured),
    )  # fmt: skip


def _measured(
    runs: Mapping[int, Mapping[ArmName, RunSpec]],
    records: Mapping[int, Mapping[ArmName, Record]],
    size: SizeOf,
    directory: Path,
    on_event: OnStudyEvent | None,
) -> Measured:
    tell = Told(on_event, len(runs) * len(CASES))
    found: dict[tuple[Case, Question], list[Answered]] = {}
    for seed, of_seed in runs.items():
        for case in CASES:
            spec = of_seed[case[0]]
            if case[0] not in records[seed] or records[seed][case[0]].status != "done":
                continue
            tell(f"{case[0]}, {case[1]}, seed {seed}")
            for question, one in _asked(spec, case, size, seed, directory).items():
                found.setdefault((case, question), []).append(one)
    return found


def _asked(spec: RunSpec, case: Case, size: SizeOf, seed: int, directory: Path) -> dict[Question, Answered]:
    """What one model answers in one way, from the folder where that was done before."""
    arm, way = case
    load = cache(lambda: _model(spec, directory))

    def answers(task: KeyFacts) -> dict[str, Any]:
        return answered(load(), task, way, size, seed).model_dump(mode="json")

    return {
        question: Answered.model_validate(
            kept_or(
                directory / "answers.jsonl",
                f"{spec.id} {way} {task.spec()} {size.questions}",
                partial(answers, task),
            )
        )
        for question, task in questions(size, arm).items()
    }


def _model(spec: RunSpec, directory: Path) -> Any:
    folder = model_folder(spec, directory)
    kind: Any = MnemicForCausalLM if spec.around is None else ReMamba
    model = kind.from_pretrained(folder).eval()
    return model.cuda() if torch.cuda.is_available() else model
