"""One run: a memory, a task, a seed and a learning rate in; one record out."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_model
from torch import nn
from transformers.utils.logging import disable_progress_bar

from mnemic.catalogue import find_system, resolve
from mnemic.errors import MnemicError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.report.records import Record, append_record, read_records
from mnemic.tasks.base import TaskConfig
from mnemic.training import checkpoint, cost, provenance, randomness, sharding
from mnemic.training.config import TrainConfig
from mnemic.training.evaluation import evaluate
from mnemic.training.loop import TrainResult, train
from mnemic.training.progress import OnProgress, OnStep, Progress, ShouldStop, StepNumbers
from mnemic.training.shell import Shell, layers_of, model_config
from mnemic.training.trackers import TrackedRun, Tracking, check_trackers
from mnemic.training.variants import measure_variants

__all__ = ["RunSpec", "failed_record", "folder_name", "is_current", "now", "results_path", "run"]

_NO_PART_OF_THE_RESULT = {"checkpoint_every", "keep_checkpoints", "device", "checkpointing", "shard"}


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run.

    Attributes:
        memory: as the user wrote it; the label in every table.
        purpose: "search" runs choose a learning rate and are measured on validation rows, "final" ones on test rows.
        test_rows: rows of that measurement, as far as the split has them.
        layers: instead of `memory`'s own, {"mixer": name, ...options} per layer or repeated pattern.
        lr_grid, lr_on_edge: how the learning rate was chosen, for the record.
        after: the run whose trained weights this one starts from, finished in the same grid; None: fresh weights.
        around: "module:function" that puts something to be trained around the fresh model; None: nothing.
        track: trackers that are told of the run; no part of what decides it.
    """

    task: TaskConfig
    memory: str
    shell: Shell = field(default_factory=Shell)
    training: TrainConfig = field(default_factory=TrainConfig)
    purpose: Literal["final", "search"] = "final"
    test_rows: int = 1000
    layers: tuple[dict[str, Any], ...] | None = None
    lr_grid: tuple[float, ...] = ()
    lr_on_edge: bool = False
    command: str = ""
    after: "RunSpec | None" = None
    around: str | None = None
    track: tuple[str, ...] = ()

    @cached_property
    def model(self) -> MnemicConfig:
        """The checked model; raises UsageError for a memory or option that is not there."""
        layers = layers_of(self.memory if self.layers is None else self.layers, self.shell.conv)
        return model_config(layers, self.shell, self.task.vocab_size)

    @cached_property
    def id(self) -> str:
        """12 hex digits, equal for two runs exactly when they would give the same result under the same code."""
        training = self.training.model_dump(mode="json", exclude=_NO_PART_OF_THE_RESULT)
        shell = self.shell.model_dump(mode="json")
        decides = [self.task.hash(), self.memory, self.model.layers, shell, training, self.purpose, self.test_rows]
        if self.after is not None:
            decides.append(self.after.id)
        if self.around is not None:
            decides.append(self.around)
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]

    def with_training(self, **changes: Any) -> "RunSpec":
        return replace(self, training=TrainConfig.model_validate({**self.training.model_dump(), **changes}))

    def new_model(self) -> Any:
        """Freshly initialised weights, the same for the same seed: the host, or what stands around it."""
        randomness.seed_all(self.training.seed)
        host = MnemicForCausalLM(self.model)
        return host if self.around is None else resolve(self.around)(host)

    def check(self) -> None:
        """
        Raises:
            UsageError: memory, options, shell or trackers cannot be.
        """
        check_trackers(self.track)
        with torch.device("meta"):
            MnemicForCausalLM(self.model)


def run(
    spec: RunSpec, directory: Path, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
) -> Record:
    """Train, measure, and leave `results.jsonl` and `model/` in `directory`; a finished run is not repeated.

    A run that was killed goes on from its checkpoint. Checkpoints are removed when the record is written.
    """
    done = [record for record in read_records(results_path(directory)) if is_current(record, spec)]
    if done:
        return done[-1]
    started = now()
    directory.mkdir(parents=True, exist_ok=True)
    model = spec.new_model()
    if spec.after is not None:
        _start_from(model, spec.after, directory)
    tracking = _tracking(spec, directory)
    try:
        record = _trained_and_measured(spec, model, directory, started, tracking, on_progress, should_stop)
        tracking.finish({name: value for name, value in record.metrics.items() if value is not None})
    finally:
        tracking.finish({})
    return record


def _trained_and_measured(
    spec: RunSpec,
    model: Any,
    directory: Path,
    started: str,
    tracking: Tracking,
    on_progress: OnProgress | None,
    should_stop: ShouldStop | None,
) -> Record:
    def tell(progress: Progress) -> None:
        if on_progress is not None:
            on_progress(replace(progress, warnings=tuple(tracking.warnings)))

    trained = train(
        model, spec.task, spec.training, directory, resume=True, on_progress=tell,
        on_step=_logging_to(tracking) if spec.track else None, should_stop=should_stop,
    )  # fmt: skip
    model = _in_one_piece(spec, model)
    if on_progress is not None:
        last = (trained.curve or [{}])[-1]
        steps = spec.training.steps
        tell(Progress("testing", trained.steps, steps, None, last.get("valid_loss"), last.get("valid_accuracy")))
    record = _measured(spec, model, trained, started)
    if spec.purpose == "final" and _is_main_process():
        disable_progress_bar()
        model.save_pretrained(directory / "model")
    if _is_main_process():
        append_record(results_path(directory), record)
        checkpoint.discard(directory / "checkpoints")
    return record


def _tracking(spec: RunSpec, directory: Path) -> Tracking:
    rate = f"lr {spec.training.lr:g}" if spec.purpose == "search" else f"seed {spec.training.seed}"
    known = _description(spec) if spec.track else {}
    config = {key: value for key, value in known.items() if key not in ("status", "example")}
    about = TrackedRun(folder_name(spec), f"{spec.memory} {rate}", spec.task.spec(), config)
    return Tracking(spec.track if _is_main_process() else (), about, directory)


def _logging_to(tracking: Tracking) -> OnStep:
    def log(numbers: StepNumbers) -> None:
        said = {name: value for name, value in asdict(numbers).items() if name != "step" and value is not None}
        tracking.log(numbers.step, said)

    return log


def _in_one_piece(spec: RunSpec, model: Any) -> Any:
    """The model itself, or where it was trained in shards, what they make together, in every process."""
    if not any(sharding.is_cut(p) for p in model.parameters()):
        return model
    weights = sharding.gathered_weights(model, keep=True)
    whole = spec.new_model().to(model.device)
    sharding.load_weights(whole, weights)
    return whole.eval()


def folder_name(spec: RunSpec) -> str:
    """Of a run within its grid; the code's version is in it: no run goes on from a checkpoint that other code wrote."""
    return f"{spec.id}-{provenance.code_version()}"


def _start_from(model: nn.Module, earlier: RunSpec, directory: Path) -> None:
    weights = directory.parent / folder_name(earlier) / "model" / "model.safetensors"
    if not weights.is_file():
        raise MnemicError(f"the run to start from has left no model at {weights}; it must be finished first")
    load_model(model, weights)


def results_path(directory: Path) -> Path:
    return directory / "results.jsonl"


def is_current(record: Record, spec: RunSpec) -> bool:
    """Whether `record` is what a run of `spec` by this code would give."""
    return (
        record.run == spec.id and record.status == "done" and record.versions.get("code") == provenance.code_version()
    )


def failed_record(spec: RunSpec, error: str, started: str) -> Record:
    """A run that gave no result, and why."""
    return Record.model_validate(
        {**_description(spec), "status": "failed", "error": error, "started": started, "finished": now()}
    )


def _measured(spec: RunSpec, model: Any, trained: TrainResult, started: str) -> Record:
    seed, batch = spec.training.seed, max(1, spec.training.batch_size // spec.training.accumulation)
    split: Literal["valid", "test"] = "test" if spec.purpose == "final" else "valid"
    precision = spec.training.precision
    found = evaluate(model, spec.task, split, spec.test_rows, seed, batch_size=batch, precision=precision)
    slices, lengths = dict(found.slices), list[dict[str, Any]]()
    if spec.purpose == "final":
        more, lengths = measure_variants(model, spec.task, found.metrics, spec.test_rows, seed, batch, precision)
        slices |= more
    return Record.model_validate(
        {
            **_description(spec),
            "training": {**_training(spec), "stopped_early_at": trained.stopped_early_at},
            "metrics": found.metrics,
            "slices": slices,
            "lengths": lengths,
            "curve": trained.curve,
            "cost": {
                **cost.measure(model, spec.task, seed),
                "train_seconds": trained.seconds,
                "train_tokens_per_second": trained.tokens_per_second,
                "tokens_per_second": found.tokens_per_second,
                "peak_memory_bytes": trained.peak_memory_bytes,
            },
            "hardware": provenance.hardware(model.device),
            "started": started,
            "finished": now(),
        }
    )


def _description(spec: RunSpec) -> dict[str, Any]:
    """What is known of a run before it starts."""
    task, model = spec.task, spec.model
    return {
        "run": spec.id,
        "purpose": spec.purpose,
        "status": "done",
        "task": task.spec(),
        "task_config": task.model_dump(mode="json"),
        "information_bits": task.information_bits(),
        "chance": task.chance,
        "memory": spec.memory,
        "places": sorted({find_system(layer["mixer"]).place for layer in model.layers}),
        "layers": model.layers,
        "shell": {
            "width": spec.shell.width,
            "depth": spec.shell.depth,
            "feed_forward": model.feed_forward,
            "conv_size": spec.shell.conv,
            "init": model.resolved_init,
            "tied": spec.shell.tied,
        },
        "seed": spec.training.seed,
        "lr": spec.training.lr,
        "lr_grid": spec.lr_grid or (spec.training.lr,),
        "lr_on_edge": spec.lr_on_edge,
        "training": _training(spec),
        "example": _example(task, spec.training.seed),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "hardware": provenance.hardware(torch.device("cpu")),
        "command": spec.command,
    }


def _training(spec: RunSpec) -> dict[str, Any]:
    return {**spec.training.model_dump(mode="json"), "test_rows": spec.test_rows, "stopped_early_at": None}


def _example(task: TaskConfig, seed: int) -> str:
    prompts = task.render(task.sample("valid", 1, seed))
    return f"{prompts[0].text} → {' '.join(prompts[0].answers)}" if prompts else ""


def now() -> str:
    """The time in UTC, as records hold it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
