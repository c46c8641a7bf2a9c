"""What exactly was run: layers, shell, training, seeds, an example, versions, and the command that does it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from mnemic.report.figure import Style, swatch
from mnemic.report.markup import Html, join, tag
from mnemic.report.records import Record
from mnemic.report.summary import Group
from mnemic.report.units import score_text, seconds_text

__all__ = ["how_to_reproduce", "run_details"]


_ENDS = ("", "_low", "_high")


def run_details(records: Sequence[Record], groups: Sequence[Group], look: Mapping[str, Style]) -> Html:
    """One closed box per memory, one for the task, and the failed runs with their errors."""
    first = records[0]
    config = {"information": _bits(first), "chance": _chance(first)} | first.task_config
    task = [_listed(config), tag("pre", first.example, tabindex=0) if first.example else None]
    failed = [record for record in records if record.status == "failed"]
    return tag(
        "div",
        [_box(join(swatch(look[group.label]), group.label, _digest(group)), _memory(group)) for group in groups],
        _box(join("The task"), join(*task)),
        _box(join(f"Failed runs ({len(failed)})"), _failures(failed), is_open=True) if failed else None,
        class_="details",
    )


def how_to_reproduce(records: Sequence[Record]) -> Html | None:
    """The exact commands, versions and hardware."""
    if not records:
        return None
    commands = dict.fromkeys(record.command for record in records if record.command)
    environments = dict.fromkeys(json.dumps(_environment(record), ensure_ascii=False) for record in records)
    several = len(environments) > 1
    return tag(
        "section",
        tag("h2", "How to reproduce"),
        [tag("pre", tag("code", command), tabindex=0) for command in commands],
        tag("p", f"These runs come from {len(environments)} different set-ups.", class_="note") if several else None,
        [_listed(json.loads(environment)) for environment in environments],
        id="reproduce",
    )


def _digest(group: Group) -> Html:
    if group.first.recalls:
        options = group.first.layers[0] if group.first.layers else {}
        return tag(
            "span", " · ".join(str(options[o]) for o in ("encoder", "extraction") if o in options), class_="digest"
        )
    rates = " and ".join(f"{lr:g}" for lr in dict.fromkeys(record.lr for record in group.records) if lr is not None)
    seeds = len(group.records)
    parts = [f"{len(group.first.layers)} layers", f"rate {rates}" if rates else "", f"{seeds} seed{'s' * (seeds > 1)}"]
    return tag("span", " · ".join(filter(None, parts)), class_="digest")


def _memory(group: Group) -> Html:
    first = group.first
    if first.recalls:
        return join(*(_listed(layer) for layer in first.layers), tag("h4", "Metrics"), _metrics(first))
    layers = [tag("li", _layer(run, len(list(same)))) for run, same in groupby(json.dumps(x) for x in first.layers)]
    training = {key: value for key, value in first.training.items() if key not in {"stopped_early_at", "lr", "seed"}}
    return join(
        tag("h4", "Layers"),
        tag("ul", layers, class_="layers"),
        tag("h4", "Shell"),
        _listed(first.shell),
        tag("h4", "Training"),
        _listed(training),
        tag("h4", "Learning rate"),
        _grid(group),
        tag("h4", "Runs"),
        _runs(group),
    )


def _layer(layer: str, times: int) -> Html:
    """'2 × mamba2 heads 4': layers that follow each other and are equal are said once."""
    options = dict(json.loads(layer))
    name = str(options.pop("mixer", "?"))
    rest = ", ".join(f"{key} {_said(value)}" for key, value in options.items() if value is not None)
    return join(f"{times} × " if times > 1 else "", tag("code", name), f" {rest}" if rest else "")


def _grid(group: Group) -> Html:
    chosen = {record.lr for record in group.records}
    grid = dict.fromkeys([*group.first.lr_grid, *(lr for lr in chosen if lr is not None)])
    marks = [tag("li", f"{lr:g}", class_="chosen" if lr in chosen else None) for lr in grid]
    return tag("ul", marks, class_="grid", aria_label=f"tried; chosen: {', '.join(f'{lr:g}' for lr in chosen if lr)}")


def _runs(group: Group) -> Html:
    metrics = [m for m in ("accuracy", "row_accuracy", "loss", "recall_hit_loss", "other_loss") if group.metric(m)]
    names = ["seed", "run", *(metric.replace("_", " ") for metric in metrics), "rate", "steps", "time", "finished"]
    rows = [
        tag(
            "tr",
            tag("td", str(record.seed)),
            tag("td", tag("code", record.run)),
            [tag("td", _score(record.metrics.get(metric))) for metric in metrics],
            tag("td", "–" if record.lr is None else f"{record.lr:g}"),
            tag("td", _steps(record)),
            tag("td", "–" if record.cost.train_seconds is None else seconds_text(record.cost.train_seconds)),
            tag("td", (record.finished or "–")[:16].replace("T", " ")),
        )
        for record in group.records
    ]
    table = tag("table", tag("thead", tag("tr", [tag("th", name, scope="col") for name in names])), tag("tbody", rows))
    return tag("div", table, class_="scroll", role="region", aria_label=f"Runs of {group.label}", tabindex=0)


def _metrics(record: Record) -> Html:
    """Every metric with its interval, and over how many questions the score was taken."""
    shown = [m for m, value in record.metrics.items() if value is not None and not m.endswith(("_low", "_high"))]
    rows = [
        tag("tr", tag("th", name, scope="row"), *(tag("td", _score(record.metrics.get(name + end))) for end in _ENDS))
        for name in shown
    ]
    head = tag("tr", [tag("th", name, scope="col") for name in ("metric", "mean", "low", "high")])
    counted = tag("p", f"{len(record.scores):,} questions with an answer.", class_="note") if record.scores else None
    table = tag("table", tag("thead", head), tag("tbody", rows))
    return join(counted, tag("div", table, class_="scroll", role="region", aria_label="Metrics", tabindex=0))


def _failures(failed: Sequence[Record]) -> Html:
    return join(
        *(
            join(
                tag(
                    "h4",
                    f"{record.memory}, seed {record.seed}",
                    f", rate {record.lr:g}" if record.lr is not None else None,
                ),
                tag("pre", record.error or "no error was recorded", tabindex=0),
            )
            for record in failed
        )
    )


def _box(summary: Html, content: Html, is_open: bool = False) -> Html:
    return tag("details", tag("summary", summary), tag("div", content), open=is_open)


def _listed(items: Mapping[str, Any]) -> Html:
    pairs = [
        tag("div", tag("dt", key.replace("_", " ")), tag("dd", _said(value)))
        for key, value in items.items()
        if value is not None
    ]
    return tag("dl", pairs)


def _environment(record: Record) -> dict[str, Any]:
    return {**record.versions, "commit": record.commit, **record.hardware}


def _steps(record: Record) -> str:
    stopped, steps = record.training.get("stopped_early_at"), record.training.get("steps", "–")
    return f"{stopped} of {steps}" if stopped is not None else str(steps)


def _bits(record: Record) -> str | None:
    return None if record.information_bits is None else f"{record.information_bits:,.0f} bits a sequence"


def _chance(record: Record) -> str | None:
    return None if record.chance is None else score_text(record.chance)


def _score(value: float | None) -> str:
    return "–" if value is None else score_text(value)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
