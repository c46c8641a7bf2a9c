"""`mnemic teach memento probe`: what a taught model's mementos carry beyond their text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mnemic.teaching.memento.kv_probe import ProbeReport

__all__ = ["command"]


@click.command("probe", context_settings={"show_default": True})
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("traces", type=click.Path(path_type=Path))
@click.option("--block", type=click.IntRange(2), default=2, help="Which block gets the passcode, counted from 1.")
@click.option("--rows", type=click.IntRange(200), default=3000, help="Traces to read; each record is used in turn.")
@click.option(
    "--layer", "layers", type=click.IntRange(0), multiple=True, show_default="the last", help="To read; repeat."
)
@click.option("--batch-size", type=click.IntRange(1), default=8, help="Traces read at once.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the passcodes and of the probe.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    checkpoint: Path,
    traces: Path,
    block: int,
    rows: int,
    layers: tuple[int, ...],
    batch_size: int,
    seed: int,
    as_json: bool,
) -> None:
    """Hide a passcode in one block of TRACES and look for its digits in the keys and values of the mementos.

    \b
    mnemic teach memento probe runs/taught/model data/traces.jsonl --rows 3000

    The memento of the block saw it, later ones only what that one carried on, the one before nothing.
    """
    import torch
    from transformers.utils.logging import disable_progress_bar

    from mnemic.teaching.memento.export import find_model
    from mnemic.teaching.memento.kv_probe import probe_kv
    from mnemic.teaching.memento.memento_file import read_memento_file
    from mnemic.teaching.memento.passcodes import passcode_traces
    from mnemic.teaching.pretrained import load_tokenizer, model_loader
    from mnemic.teaching.records import TraceRecord, read_jsonl

    disable_progress_bar()
    folder = find_model(checkpoint)
    rules = read_memento_file(folder).rules
    model, tokenizer = model_loader(str(folder), kernel="sdpa", on_accelerator=True)(), load_tokenizer(str(folder))
    records: list[TraceRecord] = list(read_jsonl(traces))
    usable = [record for record in records if record.status == "ok"]
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    made = passcode_traces(usable, tokenizer, rules, block=block - 1, count=rows, seed=seed)
    chosen = list(layers) or [model.config.get_text_config().num_hidden_layers - 1]
    with _Bar() as bar:
        report = probe_kv(
            model, made.input_ids.to(model.device), made.visible_until.to(model.device),
            {distance: at.to(model.device) for distance, at in made.places.items()}, made.digits,
            layers=chosen, seed=seed, batch_size=batch_size, on_progress=bar,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        _print(report, block)


def _print(report: ProbeReport, block: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("memento of block", "digits found", "± standard error", "from its text alone", "chance", box=None)
    for distance, score in report.by_distance.items():
        table.add_row(
            f"{block + distance}{' (the passcode)' if distance == 0 else ''}", f"{score.accuracy:.3f}",
            f"{score.standard_error:.3f}", f"{report.text[distance].accuracy:.3f}", f"{score.chance:.3f}",
        )  # fmt: skip
    Console(highlight=False).print(table)


class _Bar:
    """A bar on stderr, taken down at the end."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("probing", total=None)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, steps: int) -> None:
        self._progress.update(self._task, completed=done, total=steps)
