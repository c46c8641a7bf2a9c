"""`mnemic list`: the catalogue."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from mnemic.catalogue import CORPORA, RECIPES, STUDIES, systems, tasks

PLACES = {
    "state": "state: a fixed-size recurrent state that fades",
    "context": "context: tokens kept, chosen or compressed, and attended to",
    "weights": "weights: facts written into parameters",
    "storage": "storage: a database outside the model",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(as_json: bool) -> None:
    """The memories, recipes, tasks and studies that mnemic has."""
    if as_json:
        tables: dict[str, Any] = {
            "systems": systems(),
            "recipes": RECIPES,
            "tasks": {**tasks(), **CORPORA},
            "studies": STUDIES,
        }
        listed = {kind: [asdict(entry) for entry in table.values()] for kind, table in tables.items()}
        click.echo(json.dumps(listed, ensure_ascii=False))
        return
    for place in dict.fromkeys([*PLACES, *(s.place for s in systems().values())]):
        here = [(s.name, s.title, s.memory) for s in systems().values() if s.place == place]
        if here:
            _print_table(PLACES.get(place, place), here)
    recipes = [(r.name, r.title, f"mnemic teach {r.verb}") for r in RECIPES.values()]
    _print_table("recipes: teach a model that is there already to use a memory", recipes)
    _print_table("tasks", [(t.name, t.title, t.example) for t in tasks().values()])
    _print_table("tasks for recall methods", [(t.name, t.title, t.example) for t in CORPORA.values()])
    _print_table("studies", [(s.name, s.title, f"mnemic reproduce {s.name}") for s in STUDIES.values()])
    click.echo("mnemic show NAME tells more of any of them.")


def _print_table(title: str, rows: list[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True, min_width=max(18, *(len(name) for name, _, _ in rows)))
    table.add_column()
    table.add_column(overflow="fold", min_width=min(38, max(len(last) for _, _, last in rows)))
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    console.print(title, style="bold")
    console.print(table)
    console.print()
