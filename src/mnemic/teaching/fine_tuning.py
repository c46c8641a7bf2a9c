"""Fine-tuning on traces in stages: each starts from the best evaluation of the one before.

run/
  run.json                  what decides the run, so that a folder is not mixed
  1-full/, 2-memento/ …     a stage: checkpoints/ while it trains, best/, done.json when it is over
  metrics.jsonl             one line per evaluation
  results.jsonl             one record per stage; report.html is made from it
  model/                    the last stage's best weights, exported

Every stage builds its model anew and reads the best weights from the disk, so a killed run goes on as it would have.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from torch import nn

from mnemic.errors import UsageError
from mnemic.ops.visibility import TILE
from mnemic.report.document import write_document
from mnemic.report.records import append_record, read_records
from mnemic.teaching.adapters import with_adapters
from mnemic.teaching.answer_judge import answer_judge
from mnemic.teaching.fine_tuning_config import FineTuneConfig, Stage
from mnemic.teaching.fine_tuning_page import fine_tuning_page
from mnemic.teaching.fine_tuning_record import MetricsFile, stage_record
from mnemic.teaching.json_file import write_json
from mnemic.teaching.memento.export import save_export
from mnemic.teaching.memento.markers import add_markers
from mnemic.teaching.memento.memento_file import MementoFile
from mnemic.teaching.packing import check_can_pack
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.teaching.tokenised_traces import TokenisedTraces, tokenise_traces
from mnemic.teaching.trace_rows import TraceRows
from mnemic.training import checkpoint, randomness
from mnemic.training.best import load_best
from mnemic.training.loop import Judge, train
from mnemic.training.progress import OnProgress, ShouldStop

__all__ = ["FineTuned", "StageResult", "fine_tune"]


@dataclass(frozen=True)
class StageResult:
    """
    Attributes:
        name: number and attention.
        curve: one point per evaluation.
        best: the point whose weights were kept.
        rows, packed: training rows, and how many they are after packing.
        dropped: reason -> traces that gave no row.
        steps: done.
        seconds: spent in training steps.
    """

    name: str
    curve: list[dict[str, Any]]
    best: dict[str, Any]
    rows: int
    packed: int
    dropped: dict[str, int]
    steps: int
    seconds: float


@dataclass(frozen=True)
class FineTuned:
    """
    Attributes:
        stages: in order.
        model: folder of the export.
    """

    stages: list[StageResult]
    model: Path


def fine_tune(
    make_model: Callable[[], Any],
    tokenizer: Any,
    traces: Path,
    config: FineTuneConfig,
    directory: Path,
    *,
    name: str = "",
    resume: bool = False,
    judge: Judge | None = None,
    on_tokenised: Callable[[int], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    command: str = "",
) -> FineTuned:
    """Train a transformers causal model on a file of traces, and leave it in `directory/model`.

    Args:
        make_model: gives the untaught model; called once per stage, equal weights every time.
        tokenizer: of the model; the markers are added to both where they are missing.
        name: of the model, for the record.
        judge: what chooses the best weights; None for what `config.choose_by` says.
        on_tokenised: told how many records are tokenised.
        on_stage: told which stage begins.

    Raises:
        UsageError: traces, model or options do not fit, or the folder holds another run.
        MnemicError: a step failed, see `train`.
        Interrupted: it was asked to stop; it goes on with `resume`.
    """
    return _FineTuning(make_model, tokenizer, traces, config, directory, name, command).run(
        resume, judge, on_tokenised, on_stage, on_progress, should_stop
    )


class _FineTuning:
    def __init__(
        self,
        make_model: Callable[[], Any],
        tokenizer: Any,
        traces: Path,
        config: FineTuneConfig,
        directory: Path,
        name: str,
        command: str,
    ) -> None:
        self.make_model, self.tokenizer, self.path = make_model, tokenizer, traces
        self.config, self.directory, self.name, self.command = config, directory, name, command
        self.state = PartialState(cpu=config.device == "cpu")
        self.ids = add_markers(tokenizer)
        self.is_main: bool = self.state.is_main_process

    def run(
        self,
        resume: bool,
        judge: Judge | None,
        on_tokenised: Callable[[int], None] | None,
        on_stage: Callable[[str], None] | None,
        on_progress: OnProgress | None,
        should_stop: ShouldStop | None,
    ) -> FineTuned:
        tokens = self._tokens(on_tokenised)
        self._claim(tokens, resume=resume)
        results: list[StageResult] = []
        before: Path | None = None
        for number, stage in enumerate(self.config.stages, start=1):
            folder = self.directory / f"{number}-{stage.attention}"
            if on_stage is not None:
                on_stage(folder.name)
            done = folder / "done.json"
            if done.is_file():
                results.append(StageResult(**json.loads(done.read_text(encoding="utf-8"))))
            else:
                results.append(self._stage(stage, folder, before, tokens, judge, on_progress, should_stop))
            before = folder
        return FineTuned(results, self._export(before))

    def _stage(
        self,
        stage: Stage,
        folder: Path,
        before: Path | None,
        tokens: TokenisedTraces,
        judge: Judge | None,
        on_progress: OnProgress | None,
        should_stop: ShouldStop | None,
    ) -> StageResult:
        model = self._model(before)
        rows = self._rows(model, tokens, stage)
        on_accelerator = self.state.device.type != "cpu"
        training = self.config.training(stage, rows.epoch, self.state.num_processes, on_accelerator=on_accelerator)
        if judge is None and self.config.choose_by == "answers":
            judge = answer_judge(
                rows, self.tokenizer, self.config.rules, max_new_tokens=self.config.max_new_tokens,
                most=self.config.eval_rows, rows_at_once=self.config.rows_at_once,
            )  # fmt: skip
        metrics = MetricsFile(self.directory / "metrics.jsonl", folder.name, on_progress, writes=self.is_main)
        result = train(
            model, rows, training, folder, resume=True, keep_best=True, judge=judge,
            on_progress=metrics, should_stop=should_stop,
        )  # fmt: skip
        found = StageResult(
            name=folder.name,
            curve=result.curve,
            best=json.loads((folder / "best" / "best.json").read_text(encoding="utf-8")),
            rows=len(rows.rows) - rows.held_out,
            packed=rows.epoch,
            dropped=dict(rows.rows.dropped),
            steps=result.steps,
            seconds=result.seconds,
        )
        if self.is_main:
            record = stage_record(folder.name, rows, training, model, result, found.best, self.name, self.command)
            append_record(self.directory / "results.jsonl", record)
            write_json(folder / "done.json", vars(found))
            checkpoint.discard(folder / "checkpoints")
        self.state.wait_for_everyone()
        return found

    def _model(self, before: Path | None) -> nn.Module:
        """The model of a stage: markers and adapters in place, weights from the stage before."""
        randomness.seed_all(self.config.seed)
        model = self.make_model()
        add_markers(self.tokenizer, model)
        if self.config.lora is not None:
            model = with_adapters(model, self.config.lora, self.ids)
        if before is not None:
            load_best(before / "best", model)
        assert isinstance(model, nn.Module)
        return model

    def _tokens(self, on_tokenised: Callable[[int], None] | None) -> TokenisedTraces:
        form: Literal["plain", "marked"] = "plain" if self.config.stages[0].attention == "plain" else "marked"
        cache = self.directory / "tokens"
        with self.state.main_process_first():  # the others then read what it has kept
            return tokenise_traces(
                self.path, self.tokenizer, form=form, cache=cache, on_progress=on_tokenised if self.is_main else None
            )  # fmt: skip

    def _rows(self, model: Any, tokens: TokenisedTraces, stage: Stage) -> TeachingRows:
        is_flex = getattr(model.config, "_attn_implementation", None) == "flex_attention"
        pack = is_flex if self.config.pack is None else self.config.pack
        if pack:
            check_can_pack(model.config)
        rows = TraceRows(tokens, self.config.row_options(stage))
        return TeachingRows(
            rows, self.path.name, validation=self.config.validation, pack=pack, multiple=TILE if is_flex else 1
        )

    def _claim(self, tokens: TokenisedTraces, *, resume: bool) -> None:
        """See that the folder is empty, or of this very run."""
        path = self.directory / "run.json"
        mine = {"model": self.name, "traces": tokens.key, "config": self.config.model_dump(mode="json")}
        for free in ("device", "shard", "checkpointing", "checkpoint_every", "rows_at_once"):
            mine["config"].pop(free)  # type: ignore[attr-defined]
        if path.is_file():
            there = json.loads(path.read_text(encoding="utf-8"))
            if there != mine:
                other = ", ".join(_differing(mine, there))
                raise UsageError(f"'{self.directory}' holds a run with another {other}; name another folder")
            if not resume:
                raise UsageError(f"'{self.directory}' already holds this run; resume it, or name another folder")
        self.state.wait_for_everyone()
        if self.is_main and not path.is_file():
            write_json(path, mine)

    def _export(self, last: Path | None) -> Path:
        """The last stage's model, written once by the main process."""
        target = self.directory / "model"
        assert last is not None
        if self.is_main and not (target / "config.json").is_file():
            about = MementoFile(
                marker_ids=self.ids,
                rules=self.config.rules,
                trained_with=self.config.stages[-1].attention,
                base_model=self.name,
            )
            save_export(self._model(last).eval(), self.tokenizer, about, target)
            title = f"mnemic: {self.name or 'a model'} taught by {self.path.name}"
            page = fine_tuning_page(read_records(self.directory / "results.jsonl"), title)
            write_document(page, self.directory / "report.html")
        self.state.wait_for_everyone()
        return target


def _differing(mine: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """Names of what two runs do not share, options by their own names."""
    names = []
    for key, value in mine.items():
        other = there.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            names += [name for name in value if other.get(name) != value[name]]
        elif other != value:
            names.append(key)
    return names
