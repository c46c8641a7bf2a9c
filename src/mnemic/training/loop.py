"""The one training loop: read it from `train` down.

It runs on one device; `accelerate launch` or `torchrun` start it on many, each process taking its share of every batch.
Which rows a step reads follows from the step alone, so a run that was killed goes on from its checkpoint as if nothing
had happened, bit for bit on the same machine's CPU with the same number of threads.
"""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from mnemic.errors import MnemicError, UsageError
from mnemic.tasks.base import UNASKED, Examples, TaskConfig
from mnemic.training import randomness, room, sharding
from mnemic.training.config import TrainConfig
from mnemic.training.evaluation import answer
from mnemic.training.fit import check_fit
from mnemic.training.keeper import Keeper
from mnemic.training.meter import PeakMemory
from mnemic.training.nonfinite import first_nonfinite
from mnemic.training.objective import AskedLoss, training_batch
from mnemic.training.optimizer import build_optimizer, learning_rate
from mnemic.training.processes import leave_group_at_exit
from mnemic.training.progress import Interrupted, OnProgress, OnStep, Progress, ShouldStop, StepNumbers
from mnemic.training.recomputing import set_checkpointing
from mnemic.training.result import Judge, TrainResult
from mnemic.training.rows import Rows, largest_row
from mnemic.training.shares import Shares
from mnemic.training.state import State, fingerprint

__all__ = ["Judge", "TrainResult", "train"]

_REPORT_SECONDS = 0.5


def train(
    model: nn.Module,
    task: Rows,
    config: TrainConfig,
    directory: Path | None = None,
    *,
    resume: bool = False,
    keep_best: bool = False,
    judge: Judge | None = None,
    on_progress: OnProgress | None = None,
    on_step: OnStep | None = None,
    should_stop: ShouldStop | None = None,
) -> TrainResult:
    """Train `model` in place on a task's training rows.

    Args:
        task: any rows, a `TaskConfig` or others.
        directory: where `checkpoints/` lies; None to keep none.
        resume: go on from the newest whole checkpoint there, if there is one.
        keep_best: keep the weights of the best evaluation in `directory/best`, by `judge` or else by loss.
        judge: asked at every evaluation; its score stands in the curve as `valid_accuracy`.
        on_progress: called after every evaluation and about twice a second.
        on_step: called after every step, and its evaluation if one is due.
        should_stop: asked after every step; when it says yes a checkpoint is written and Interrupted raised.

    Raises:
        UsageError: the task does not fit the model, the batch cannot be shared out, or `directory` holds another run.
        MnemicError: the loss is not finite, memory or disk ran out, or every checkpoint is damaged.
    """
    check_fit(model, task)
    if keep_best and directory is None:
        raise UsageError("keep_best=True needs a directory to keep the best weights in")
    training = _Training(model, task, config, directory, on_progress)
    if judge is not None and training.is_sharded:
        raise UsageError("judge cannot ask a model that is cut over processes; use shard=false, or leave judge out")
    training.judge, training.keeps_best, training.on_step = judge, keep_best, on_step
    return training.run(resume, should_stop)


class _Training:
    def __init__(
        self,
        model: nn.Module,
        task: Rows,
        config: TrainConfig,
        directory: Path | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.model, self.task, self.config, self.on_progress = model, task, config, on_progress
        self.directory = directory
        # precision is AskedLoss's: accelerate keeps one setting per process, and a study trains several models in one
        self.accelerator = Accelerator(mixed_precision="no", cpu=config.device == "cpu")
        self.device: torch.device = self.accelerator.device
        leave_group_at_exit()
        self.processes: int = self.accelerator.num_processes
        if config.batch_size % (self.processes * config.accumulation):
            raise UsageError(
                f"batch_size {config.batch_size} cannot be shared by {self.processes} processes "
                f"in {config.accumulation} pieces each"
            )
        self.is_sharded = config.shard and self.processes > 1
        self.judge: Judge | None = None
        self.keeps_best = False
        self.on_step: OnStep | None = None
        self.rows_at_once = config.batch_size // (self.processes * config.accumulation)
        self.state = State(fingerprint(task, config))
        self.is_warm = False
        self.reported_at = 0.0

    def run(self, resume: bool, should_stop: ShouldStop | None) -> TrainResult:
        randomness.seed_all(self.config.seed)
        with PeakMemory(self.device) as peak:
            self._place_model()
            self.optimizer = build_optimizer(self.model, self.config)
            self.need = self._measured_need()
            self.keeper = Keeper(
                self.directory, self.model, self.optimizer, self.config, self.accelerator, self.is_sharded
            )
            self.state = self.keeper.found(self.state, resume=resume)
            self.wrapped = self.objective if self.is_sharded else self.accelerator.prepare(self.objective)
            if self.config.compile:
                getattr(self.model, "model", self.model).compile()
            self.validation = self._validation_rows()
            self.shares = Shares(
                self.task, self.config.batch_size, self.config.seed, self.state.position, self.state.stream,
                self.accelerator.process_index, self.processes,
            )  # fmt: skip
            while not self.state.is_over(self.config):
                numbers = self._step(self.shares.next())
                is_evaluated = self._is_due(self.config.eval_every)
                if is_evaluated:
                    self._evaluate()
                    last = self.state.curve[-1]
                    numbers = replace(numbers, valid_loss=last["valid_loss"], valid_accuracy=last["valid_accuracy"])
                if self.on_step is not None:
                    self.on_step(numbers)
                if self._is_due(self.config.checkpoint_every) or self.state.is_over(self.config):
                    self._save()
                self._report(at_once=is_evaluated)
                if should_stop is not None and self._all_stop(should_stop()):
                    self._save()
                    raise Interrupted(
                        f"stopped after step {self.state.step} of {self.config.steps}; {self.keeper.kept()}"
                    )
            self.model.eval()
            if self.config.checkpointing:
                set_checkpointing(self.model, on=False)
        state = self.state
        speed = state.steady_tokens / state.steady_seconds if state.steady_seconds else math.nan
        return TrainResult(state.curve, state.step, state.stopped_early_at, state.seconds, speed, peak.bytes)

    def _all_stop(self, mine: bool) -> bool:
        """Whether any process was asked: a signal reaches them at different steps, and none may wait for another."""
        if self.processes == 1:
            return mine
        return bool(self.accelerator.reduce(torch.tensor(float(mine), device=self.device)) > 0)

    def _place_model(self) -> None:
        if self.config.checkpointing:
            set_checkpointing(self.model, on=True)
        if not self.is_sharded:
            self.model.to(self.device)
        self.objective = AskedLoss(self.model, self.config.precision).train()
        if self.is_sharded:  # which moves each layer's share to the device, never the whole
            sharding.shard(self.objective, self.device, self.processes)

    def _save(self) -> None:
        self.state.stream = self.shares.state()
        self.keeper.save(self.state)

    def _step(self, examples: Examples) -> StepNumbers:
        began = time.perf_counter()
        lr = learning_rate(self.state.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        try:
            loss = self._backward(examples)
            norm = self._clip_and_check(loss, examples)
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not room.is_out_of_memory(error):
                raise
            raise MnemicError(self._out_of_memory()) from None
        self.optimizer.zero_grad(set_to_none=True)
        self.state.count_step(loss, self.config)
        seconds, tokens = time.perf_counter() - began, examples.input_ids.size * self.processes
        self.state.count_time(seconds, tokens, steady=self.is_warm)
        self.is_warm = True
        return StepNumbers(self.state.step, loss, lr, norm, tokens / seconds)

    def _backward(self, examples: Examples) -> float:
        """Gradients of the batch's mean loss, the same however it is cut: each piece is divided by the whole count."""
        total = max(1, self._over_processes(int((examples.targets != UNASKED).sum())))
        pieces = self._pieces(examples)
        loss = torch.zeros((), device=self.device)
        for index, piece in enumerate(pieces):
            batch = training_batch(piece).to(self.device)
            with self._summing(over_processes=index == len(pieces) - 1):
                summed = self.wrapped(batch)
                self.accelerator.backward(summed * (self.processes / total))  # accelerate averages over processes
            loss += summed.detach()
        if self.processes > 1:
            loss = self.accelerator.reduce(loss)
        return float(loss) / total

    def _summing(self, *, over_processes: bool) -> AbstractContextManager[None]:
        if self.is_sharded:
            return sharding.sync_gradients(self.objective, over_processes)
        return nullcontext() if over_processes else self.accelerator.no_sync(self.wrapped)

    def _over_processes(self, count: int) -> int:
        if self.processes == 1:
            return count
        return int(self.accelerator.reduce(torch.tensor(count, device=self.device)))

    def _pieces(self, examples: Examples) -> list[Examples]:
        starts = range(0, len(examples), self.rows_at_once)
        return [examples[start : start + self.rows_at_once] for start in starts]

    def _clip_and_check(self, loss: float, examples: Examples) -> float:
        """The gradient's norm before it was clipped."""
        found = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or math.inf)
        norm = float(sharding.whole(found))
        if math.isfinite(loss) and math.isfinite(norm):
            return norm
        what = f"the norm of the gradient is {norm}" if math.isfinite(loss) else f"the loss is {loss}"
        raise MnemicError(
            f"{what} at step {self.state.step + 1}; the first that is not finite is {self._first_bad(examples)}; "
            f"{self.keeper.kept()}; try a learning rate below {learning_rate(self.state.step, self.config):.2g}"
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
        numbers = self.task.label_values() if isinstance(self.task, TaskConfig) else None
        answers = answer(self.objective, self.validation, self.device, numbers)
        loss, accuracy = float(answers.loss.mean()), None
        if self.judge is not None:
            self.model.eval()
            with torch.no_grad():
                accuracy = float(self.judge(self.model))
            self.objective.train()
        elif self.task.chance is not None:
            accuracy = float(answers.correct.mean())
        self.state.count_evaluation(loss, accuracy, self.config)
        if self.keeps_best:
            self.keeper.keep_if_best(self.state, -loss if self.judge is None or accuracy is None else accuracy)

    def _validation_rows(self) -> list[Examples]:
        examples = self.task.sample("valid", self.config.eval_rows, self.config.seed)
        if not len(examples):
            raise UsageError(f"task {self.task.spec()} has no validation rows")
        return [examples[start : start + self.rows_at_once] for start in range(0, len(examples), self.rows_at_once)]

    def _measured_need(self) -> room.Need:
        if self.is_sharded:  # no process could hold what a whole row takes of a whole model
            return room.Need(fixed=0, per_row=1)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            row = training_batch(largest_row(self.task, self.config.seed)).to(self.device)
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
        return f"out of memory at step {step} with {rows} rows at once; {fits}; {self.keeper.kept()}"

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
                evaluated_at=last.get("step"),
            )
        )
