"""The one training loop: read it from `train` down.

It runs on one device; `accelerate launch` or `torchrun` start it on many, each process taking its share of every batch.
Which rows a step reads follows from the step alone, so a run that was killed goes on from its checkpoint as if nothing
had happened, bit for bit on the same machine's CPU with the same number of threads.
"""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from mnemic.errors import MnemicError, UsageError
from mnemic.tasks.base import UNASKED, Examples, TaskConfig
from mnemic.training import checkpoint, randomness, room
from mnemic.training.config import TrainConfig
from mnemic.training.evaluation import answer
from mnemic.training.fit import check_fit
from mnemic.training.meter import PeakMemory
from mnemic.training.nonfinite import first_nonfinite
from mnemic.training.objective import AskedLoss, training_batch
from mnemic.training.optimizer import build_optimizer, learning_rate
from mnemic.training.progress import Interrupted, OnProgress, Progress, ShouldStop
from mnemic.training.state import State, fingerprint

__all__ = ["TrainResult", "train"]

_REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class TrainResult:
    """What training gave beside the model's weights.

    Attributes:
        curve: one point per evaluation on validation rows.
        steps: done.
        stopped_early_at: the step at which the target was met or patience ended, or None.
        seconds: spent in training steps, over all processes that a run was resumed in.
        tokens_per_second: of training, without each process's first step.
        peak_memory_bytes: by how much this process grew, or what the device held at most.
    """

    curve: list[dict[str, Any]]
    steps: int
    stopped_early_at: int | None
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int


def train(
    model: nn.Module,
    task: TaskConfig,
    config: TrainConfig,
    directory: Path | None = None,
    *,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> TrainResult:
    """Train `model` in place on a task's training rows.

    Args:
        directory: where `checkpoints/` lies; None to keep none.
        resume: go on from the newest whole checkpoint there, if there is one.
        on_progress: called after every evaluation and about twice a second.
        should_stop: asked after every step; when it says yes a checkpoint is written and Interrupted raised.

    Raises:
        UsageError: the task does not fit the model, the batch cannot be shared out, or `directory` holds another run.
        MnemicError: the loss is not finite, memory or disk ran out, or every checkpoint is damaged.
    """
    check_fit(model, task)
    return _Training(model, task, config, directory, on_progress).run(resume, should_stop)


class _Training:
    def __init__(
        self,
        model: nn.Module,
        task: TaskConfig,
        config: TrainConfig,
        directory: Path | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.model, self.task, self.config, self.on_progress = model, task, config, on_progress
        self.folder = directory / "checkpoints" if directory is not None else None
        # precision is AskedLoss's: accelerate keeps one setting per process, and a study trains several models in one
        self.accelerator = Accelerator(mixed_precision="no", cpu=config.device == "cpu")
        self.device: torch.device = self.accelerator.device
        self.processes: int = self.accelerator.num_processes
        if config.batch_size % (self.processes * config.accumulation):
            raise UsageError(
                f"batch_size {config.batch_size} cannot be shared by {self.processes} processes "
                f"in {config.accumulation} pieces each"
            )
        self.rows_at_once = config.batch_size // (self.processes * config.accumulation)
        self.state = State(fingerprint(task, config))
        self.is_warm = False
        self.reported_at = 0.0

    def run(self, resume: bool, should_stop: ShouldStop | None) -> TrainResult:
        randomness.seed_all(self.config.seed)
        with PeakMemory(self.device) as peak:
            self.objective = AskedLoss(self.model.to(self.device), self.config.precision).train()
            self.optimizer = build_optimizer(self.model, self.config)
            self.need = self._measured_need()
            self._find_checkpoint(resume)
            self.wrapped = self.accelerator.prepare(self.objective)
            if self.config.compile:
                getattr(self.model, "model", self.model).compile()
            self.validation = self._validation_rows()
            for examples in self._batches():
                self._step(examples)
                is_evaluated = self._is_due(self.config.eval_every)
                if is_evaluated:
                    self._evaluate()
                if self._is_due(self.config.checkpoint_every) or self.state.is_over(self.config):
                    self._save()
                self._report(at_once=is_evaluated)
                if should_stop is not None and should_stop():
                    self._save()
                    raise Interrupted(f"stopped after step {self.state.step} of {self.config.steps}; {self._kept()}")
            self.model.eval()
        state = self.state
        speed = state.steady_tokens / state.steady_seconds if state.steady_seconds else math.nan
        return TrainResult(state.curve, state.step, state.stopped_early_at, state.seconds, speed, peak.bytes)

    def _batches(self) -> Iterator[Examples]:
        """This run's remaining batches, whole: every process draws all rows and takes its own."""
        stream = self.task.stream("train", self.config.batch_size, self.config.seed, start=self.state.position)
        while not self.state.is_over(self.config):
            examples = next(stream, None)
            if examples is None or len(examples) < self.config.batch_size:
                position = self.state.position
                raise UsageError(f"task {self.task.spec()} has no whole batch of training rows after row {position}")
            yield examples

    def _step(self, examples: Examples) -> None:
        began = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.state.step, self.config)
        try:
            loss = self._backward(examples)
            self._clip_and_check(loss, examples)
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not room.is_out_of_memory(error):
                raise
            raise MnemicError(self._out_of_memory()) from None
        self.optimizer.zero_grad(set_to_none=True)
        self.state.count_step(loss, self.config)
        self.state.count_time(time.perf_counter() - began, examples.input_ids.size, steady=self.is_warm)
        self.is_warm = True

    def _backward(self, examples: Examples) -> float:
        """Gradients of the batch's mean loss, the same however it is cut: each piece is divided by the whole count."""
        total = max(1, int((examples.targets != UNASKED).sum()))
        pieces = self._pieces(examples)
        loss = torch.zeros((), device=self.device)
        for index, piece in enumerate(pieces):
            batch = training_batch(piece).to(self.device)
            with self.accelerator.no_sync(self.wrapped) if index < len(pieces) - 1 else nullcontext():
                summed = self.wrapped(batch)
                self.accelerator.backward(summed * (self.processes / total))  # accelerate averages over processes
            loss += summed.detach()
        if self.processes > 1:
            loss = self.accelerator.reduce(loss)
        return float(loss) / total

    def _pieces(self, examples: Examples) -> list[Examples]:
        first = self.accelerator.process_index * self.rows_at_once * self.config.accumulation
        starts = (first + index * self.rows_at_once for index in range(self.config.accumulation))
        return [examples[start : start + self.rows_at_once] for start in starts]

    def _clip_and_check(self, loss: float, examples: Examples) -> None:
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip or math.inf))
        if math.isfinite(loss) and math.isfinite(norm):
            return
        what = f"the norm of the gradient is {norm}" if math.isfinite(loss) else f"the loss is {loss}"
        raise MnemicError(
            f"{what} at step {self.state.step + 1}; the first that is not finite is {self._first_bad(examples)}; "
            f"{self._kept()}; try a learning rate below {learning_rate(self.state.step, self.config):.2g}"
        )

    def _first_bad(self, examples: Examples) -> str:
        self.optimizer.zero_grad(set_to_none=True)
        for piece in self._pieces(examples):
            place = first_nonfinite(self.objective, training_batch(piece).to(self.device))
            if place is not None:
                return place
        return "not found: a second run of the same rows was finite"

    def _is_due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.config.steps

    def _evaluate(self) -> None:
        answers = answer(self.objective, self.validation, self.device)
        accuracy = float(answers.correct.mean()) if self.task.chance is not None else None
        self.state.count_evaluation(float(answers.loss.mean()), accuracy, self.config)

    def _validation_rows(self) -> list[Examples]:
        examples = self.task.sample("valid", self.config.eval_rows, self.config.seed)
        if not len(examples):
            raise UsageError(f"task {self.task.spec()} has no validation rows")
        return [examples[start : start + self.rows_at_once] for start in range(0, len(examples), self.rows_at_once)]

    def _measured_need(self) -> room.Need:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            row = training_batch(self.task.sample("train", 1, self.config.seed)).to(self.device)
            need = room.measure(self.objective, row)
        if self.device.type == "cpu":  # a device says when it is full, the kernel kills
            room.refuse_if_too_large(need, self.rows_at_once, self.device)
        return need

    def _out_of_memory(self) -> str:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        rows, step = self.rows_at_once, self.state.step + 1
        fits = room.batch_that_fits(self.need, room.available_bytes(self.device), rows // 2)
        return f"out of memory at step {step} with {rows} rows at once; {fits}; {self._kept()}"

    def _find_checkpoint(self, resume: bool) -> None:
        if self.folder is None:
            return
        if not resume:
            if checkpoint.checkpoints(self.folder):
                raise UsageError(f"{self.folder} already holds checkpoints; resume that run, or name another folder")
            return
        found = checkpoint.load_newest(self.folder, self.model, self.optimizer)
        if found is not None:
            if found["fingerprint"] != self.state.fingerprint:
                raise UsageError(f"{self.folder} is of another task or other training options; name another folder")
            self.state = State(**found)

    def _save(self) -> None:
        if self.folder is not None and self.accelerator.is_main_process:
            newest = checkpoint.checkpoints(self.folder)[-1:]
            if not newest or checkpoint.step_of(newest[0]) != self.state.step:
                state, keep = asdict(self.state), self.config.keep_checkpoints
                checkpoint.save(self.folder, self.state.step, self.model, self.optimizer, state, keep)
        self.accelerator.wait_for_everyone()

    def _kept(self) -> str:
        kept = checkpoint.checkpoints(self.folder) if self.folder is not None else []
        return f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"

    def _report(self, *, at_once: bool) -> None:
        now = time.perf_counter()
        if self.on_progress is None or (not at_once and now - self.reported_at < _REPORT_SECONDS):
            return
        self.reported_at = now
        state, last = self.state, (self.state.curve or [{}])[-1]
        train_loss = state.loss_sum / state.loss_steps if state.loss_steps else last.get("train_loss")
        self.on_progress(
            Progress(
                phase="training",
                step=state.step,
                steps=self.config.steps,
                train_loss=train_loss,
                valid_loss=last.get("valid_loss"),
                valid_accuracy=last.get("valid_accuracy"),
                bytes_per_row=self.need.per_row,
            )
        )
