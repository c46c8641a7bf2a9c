"""MEMENTO: a model that sums up its own reasoning and forgets the rest (Kontonis et al. 2026, arXiv 2604.09852).

Six groups of claims at laptop scale. A: with its blocks evicted the model answers as well as with all of them, and
holds a fraction of the keys. B: it has to be taught under eviction. C: a memento's keys carry what its text does not.
D: the mask of training is the eviction of generation. E: eviction pays in tokens per second. F: a probe reads digits
from the keys of mementos, also of those written after their block was gone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from mnemic.models import MnemicForCausalLM
from mnemic.studies.base import Scale, StudyResult, check_start
from mnemic.studies.chains import model_folder
from mnemic.studies.measuring import OnStudyEvent, Told, kept_or
from mnemic.studies.memento_claims import cases, claims
from mnemic.studies.memento_figures import figures
from mnemic.studies.memento_generation import Case, Generated, Measured, Mode, generated
from mnemic.studies.memento_measures import mask_difference, probed, speed
from mnemic.studies.memento_runs import PROBE, SEEDS, Key, SizeOf, sizes, specs, train_all
from mnemic.tasks.rounds import Rounds
from mnemic.training.runs import RunSpec

__all__ = ["study"]

_NO_SEARCH = "the stages of memento start from each other, so their rates cannot be searched one by one"


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
    command = f"mnemic reproduce memento --scale {scale} --seed {seed}"
    runs = {each: specs(size, each, command) for each in seeds}
    for each in seeds[1:]:
        del runs[each][PROBE]  # one model is probed
    records = train_all(runs, directory, on_event, jobs)
    everything = [record for of_seed in records.values() for record in of_seed.values()]
    finished = {
        each: {key: runs[each][key] for key, record in of_seed.items() if record.status == "done"}
        for each, of_seed in records.items()
    }
    disable_progress_bar()  # transformers': one for every model that is loaded
    tell = Told(on_event, SEEDS * len(cases(size)) + 3)
    written = _written(finished, size, directory, tell)
    extra = _extra(finished[seed], size, seed, directory, tell)
    failed = [record for record in everything if record.status == "failed"]
    return StudyResult(
        tuple(claims(size, written, extra, failed)), tuple(everything), figures(size, written, extra.get("probe"))
    )


def _written(finished: Mapping[int, Mapping[Key, RunSpec]], size: SizeOf, directory: Path, tell: Told) -> Measured:
    found: dict[Case, list[Generated]] = {}
    for seed, runs in finished.items():
        for case in cases(size):
            key, mode = case
            if key not in runs:
                continue
            spec = runs[key]
            task = spec.task
            assert isinstance(task, Rounds)
            tell(f"{key[0]} rounds, mementos {key[1]}, {key[2]}, {mode}, seed {seed}")

            def make(spec: RunSpec = spec, task: Rounds = task, mode: Mode = mode, seed: int = seed) -> dict[str, Any]:
                model = _model(spec, directory)
                return generated(model, task, mode, size.problems, seed).model_dump(mode="json")

            held = kept_or(directory / "generations.jsonl", f"{spec.id} {mode} {size.problems}", make)
            found.setdefault(case, []).append(Generated.model_validate(held))
    return found


def _extra(runs: Mapping[Key, RunSpec], size: SizeOf, seed: int, directory: Path, tell: Told) -> dict[str, Any]:
    """What is measured once, on the models of the first seed."""
    path = directory / "generations.jsonl"
    tell("tokens per second")
    found: dict[str, Any] = {"speed": kept_or(path, "speed", speed)}
    taught = runs.get((size.rounds[0], "lossy", "stage 2"))
    if taught is not None:
        task = taught.task
        assert isinstance(task, Rounds)
        tell("mask beside eviction")
        found["mask difference"] = kept_or(
            path,
            f"{taught.id} mask difference",
            lambda: {"largest": mask_difference(_model(taught, directory), task, seed)},
        )["largest"]
    if PROBE in runs:
        spec = runs[PROBE]
        tell("the probe")
        found["probe"] = kept_or(path, f"{spec.id} probe", lambda: probed(_model(spec, directory), spec.task, seed))
    return found


def _model(spec: RunSpec, directory: Path) -> MnemicForCausalLM:
    model = MnemicForCausalLM.from_pretrained(model_folder(spec, directory)).eval()
    return model.cuda() if torch.cuda.is_available() else model
