"""Fine-tuning on recall rows: notes before answers, or the controls that see the same rows.

Source: Recall with Reasoning (arXiv 2505.03320). Settings that it does not state are those of ReMamba (arXiv
2408.15496), which has the same base model, data and length.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from mnemic.errors import UsageError
from mnemic.teaching.adapters import with_adapters
from mnemic.teaching.export_folder import save_model
from mnemic.teaching.rwr.continuation import continuation_of
from mnemic.teaching.rwr.layout import QueryPosition
from mnemic.teaching.rwr.recall_rows import RecallRowOptions, RecallRows, Target
from mnemic.teaching.rwr.rwr_file import RecallFile, write_recall_file
from mnemic.teaching.rwr.tokenised_recall import tokenise_recall
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.teaching.tuning_options import RunOptions, StageOptions
from mnemic.teaching.tuning_run import Beginning, FineTuned, TuningRun
from mnemic.training import randomness
from mnemic.training.best import load_best
from mnemic.training.progress import OnProgress, ShouldStop

__all__ = ["RecallTuning", "slow_kernels", "teach_recall"]

_OF_ROWS = tuple(RecallRowOptions.model_fields)
_KERNELS = "mamba_ssm"
_USE_KERNELS = frozenset({"mamba", "falcon_mamba", "mamba2"})
_ROUNDING = 1e-4  # of what the token itself changes; a model that looks ahead is above, however small its weights


class RecallTuning(StageOptions, RunOptions):
    """Everything that decides a fine-tuning, beside model, tokenizer and rows."""

    usual_batch: ClassVar[int] = 16

    target: Target = Field("mixed", description="what is written where a row has a note; answer: the control")
    summary_share: float = Field(0.5, ge=0, le=1, description="of mixed: the share of notes that stand alone")
    query_position: QueryPosition = Field("after", description="where the question stands, seen from the context")
    max_length: int = Field(6000, ge=8, description="tokens of the longest row; longer ones are left out")
    epochs: float = Field(1, gt=0, description="passes over the training rows")
    lr: float = Field(2e-5, gt=0, description="peak learning rate, then half a cosine down to 0")
    warmup: float = Field(0.0, ge=0, le=0.1, description="share of the steps that warm up")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's decay of matrices")
    betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's two averages")

    @property
    def row_options(self) -> RecallRowOptions:
        return RecallRowOptions(**{name: getattr(self, name) for name in _OF_ROWS})


def teach_recall(
    make_model: Callable[[], Any],
    tokenizer: Any,
    records: Path,
    config: RecallTuning,
    directory: Path,
    *,
    name: str = "",
    resume: bool = False,
    on_tokenised: Callable[[int], None] | None = None,
    on_rows: Callable[[RecallRows], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    command: str = "",
) -> FineTuned:
    """Train any causal model on a file of `mnemic.recall/1`, and leave it in `directory/model`; see `tuning_run`.

    Args:
        make_model: gives the untaught model, equal weights every time.
        tokenizer: of the model, with an eos token.
        name: of the model, for the record.
        on_tokenised: told how many records are tokenised.
        on_rows: told what is trained on, before it begins.
        on_stage: told which stage begins; there is one.

    Raises:
        UsageError: records, model or options do not fit, or the folder holds another run.
        MnemicError: a step failed, see `train`.
        Interrupted: it was asked to stop; it goes on with `resume`.
    """
    run = TuningRun(
        directory, config.device, name=name, on_stage=on_stage, on_progress=on_progress, should_stop=should_stop,
        command=command,
    )  # fmt: skip
    with run.state.main_process_first():  # the others then read what it has kept
        rows = tokenise_recall(
            records, tokenizer, config.row_options, cache=directory / "tokens",
            on_progress=on_tokenised if run.is_main else None,
        )  # fmt: skip
    run.claim(config, {"rows": rows.key}, resume=resume)
    if on_rows is not None and run.is_main:
        on_rows(rows)
    folder = run.stage(config.target, partial(_begin, run, make_model, rows, records.name, config))
    return run.finish(partial(_save, run, make_model, tokenizer, rows, config, folder), records.name)


def slow_kernels(config: Any, *, on_accelerator: bool) -> str | None:
    """Why a model of transformers will train slowly, None where it will not."""
    if config.model_type not in _USE_KERNELS or (on_accelerator and find_spec(_KERNELS) is not None):
        return None
    where = f"{_KERNELS} is not installed" if on_accelerator else "the CPU has none of its kernels"
    return (
        f"{type(config).__name__}: {where}, so transformers runs it in plain torch, many times slower; for "
        "experiments on a CPU a small model of mnemic with mamba2 layers is faster"
    )


def _begin(
    run: TuningRun, make_model: Callable[[], Any], rows: RecallRows, name: str, config: RecallTuning
) -> Beginning:
    model = _model(make_model, config)
    split = TeachingRows(rows, name, validation=config.validation)
    training = config.training(config, split.epoch, run.state.num_processes, on_accelerator=run.on_accelerator)
    return Beginning(model, split, training)


def _model(make_model: Callable[[], Any], config: RecallTuning) -> nn.Module:
    randomness.seed_all(config.seed)
    model = make_model()
    continuation_of(model)  # a model that could not be asked afterwards is not taught
    _check_causal(model)
    if config.lora is not None:
        model = with_adapters(model, config.lora)
    assert isinstance(model, nn.Module)
    return model


@torch.no_grad()
def _check_causal(model: Any) -> None:
    """Two texts that differ in their last token: all that is said before it must be the same, rounding aside."""
    was_training = model.training
    model.eval()
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 0]], device=model.get_input_embeddings().weight.device)
    first, second = model(input_ids=ids, use_cache=False).logits.float()
    model.train(was_training)
    moved = (first - second).abs().amax(-1)
    if moved[:-1].max() > _ROUNDING * moved[-1]:
        raise UsageError(
            f"{type(model).__name__} is not causal: what it says depends on what comes later, so it cannot write; name "
            "a causal language model"
        )


def _save(
    run: TuningRun,
    make_model: Callable[[], Any],
    tokenizer: Any,
    rows: RecallRows,
    config: RecallTuning,
    folder: Path,
    target: Path,
) -> None:
    model = _model(make_model, config)
    load_best(folder / "best", model)
    options = rows.options.model_dump()
    about = RecallFile(**options, longest_row=int(rows.lengths.max()), base_model=run.name)
    save_model(model.eval(), tokenizer, target, lambda aside: write_recall_file(aside, about))
