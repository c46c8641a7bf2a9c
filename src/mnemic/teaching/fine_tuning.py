"""MEMENTO's fine-tuning on traces, in stages: each starts from the best evaluation of the one before."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from mnemic.ops.visibility import TILE
from mnemic.teaching.adapters import with_adapters
from mnemic.teaching.answer_judge import answer_judge
from mnemic.teaching.fine_tuning_config import FineTuneConfig, Stage
from mnemic.teaching.memento.export import save_export
from mnemic.teaching.memento.markers import add_markers
from mnemic.teaching.memento.memento_file import MementoFile
from mnemic.teaching.packing import check_can_pack
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.teaching.tokenised_traces import TokenisedTraces, tokenise_traces
from mnemic.teaching.trace_rows import TraceRows
from mnemic.teaching.tuning_run import Beginning, FineTuned, StageResult, TuningRun
from mnemic.training import randomness
from mnemic.training.best import load_best
from mnemic.training.loop import Judge
from mnemic.training.progress import OnProgress, ShouldStop

__all__ = ["FineTuned", "StageResult", "fine_tune"]


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
    """Train a transformers causal model on a file of traces, and leave it in `directory/model`; see `tuning_run`.

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
    run = TuningRun(
        directory, config.device, name=name, on_stage=on_stage, on_progress=on_progress, should_stop=should_stop,
        command=command,
    )  # fmt: skip
    tuning = _FineTuning(run, make_model, tokenizer, traces, config, judge)
    tokens = tuning.tokens(on_tokenised)
    run.claim(config, {"traces": tokens.key}, resume=resume)
    before: Path | None = None
    for stage in config.stages:
        before = run.stage(stage.attention, partial(tuning.begin, stage, before, tokens))
    return run.finish(partial(tuning.save, before), traces.name)


class _FineTuning:
    def __init__(
        self,
        run: TuningRun,
        make_model: Callable[[], Any],
        tokenizer: Any,
        traces: Path,
        config: FineTuneConfig,
        judge: Judge | None,
    ) -> None:
        self.run, self.make_model, self.tokenizer, self.path = run, make_model, tokenizer, traces
        self.config, self.judge = config, judge
        self.ids = add_markers(tokenizer)

    def tokens(self, on_tokenised: Callable[[int], None] | None) -> TokenisedTraces:
        form: Literal["plain", "marked"] = "plain" if self.config.stages[0].attention == "plain" else "marked"
        cache = self.run.directory / "tokens"
        with self.run.state.main_process_first():  # the others then read what it has kept
            return tokenise_traces(
                self.path, self.tokenizer, form=form, cache=cache,
                on_progress=on_tokenised if self.run.is_main else None,
            )  # fmt: skip

    def begin(self, stage: Stage, before: Path | None, tokens: TokenisedTraces) -> Beginning:
        model = self._model(before)
        rows = self._rows(model, tokens, stage)
        processes = self.run.state.num_processes
        training = self.config.training(stage, rows.epoch, processes, on_accelerator=self.run.on_accelerator)
        judge = self.judge
        if judge is None and self.config.choose_by == "answers":
            judge = answer_judge(
                rows, self.tokenizer, self.config.rules, max_new_tokens=self.config.max_new_tokens,
                most=self.config.eval_rows, rows_at_once=self.config.rows_at_once,
            )  # fmt: skip
        return Beginning(model, rows, training, judge)

    def save(self, last: Path | None, target: Path) -> None:
        about = MementoFile(
            marker_ids=self.ids,
            rules=self.config.rules,
            trained_with=self.config.stages[-1].attention,
            base_model=self.run.name,
        )
        save_export(self._model(last).eval(), self.tokenizer, about, target)

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

    def _rows(self, model: Any, tokens: TokenisedTraces, stage: Stage) -> TeachingRows[TraceRows]:
        is_flex = getattr(model.config, "_attn_implementation", None) == "flex_attention"
        pack = is_flex if self.config.pack is None else self.config.pack
        if pack:
            check_can_pack(model.config)
        rows = TraceRows(tokens, self.config.row_options(stage))
        return TeachingRows(
            rows, self.path.name, validation=self.config.validation, pack=pack, multiple=TILE if is_flex else 1
        )
