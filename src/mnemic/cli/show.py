"""`mnemic show NAME`: one entry of the catalogue, without importing what it describes if that needs torch."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import asdict, replace
from typing import Any, get_type_hints

import click
from pydantic import BaseModel

from mnemic.catalogue import CORPORA, RECIPES, STUDIES, System, Task, resolve, systems, tasks
from mnemic.errors import UsageError, nearest
from mnemic.static_options import REQUIRED, Option, attribute_meanings, declared_options

_SMALL = "mqar:pairs=8,length=64,vocab=256"


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(name: str, as_json: bool) -> None:
    """What the memory, recipe, task or study NAME is, its paper and its options."""
    described = describe(name.partition(":")[0])
    if as_json:
        click.echo(json.dumps(described, ensure_ascii=False))
    else:
        _print(described)


def describe(name: str) -> dict[str, Any]:
    """Everything that is known of a name, ready for JSON."""
    if name in systems():
        system = systems()[name]
        options = [asdict(option) for option in system_options(system)]
        return {"kind": "system", **asdict(system), "docs": system.docs, "options": options}
    if name in RECIPES:
        recipe = RECIPES[name]
        options = [asdict(option) for option in model_options(resolve(recipe.rules))]
        return {"kind": "recipe", **asdict(recipe), "docs": f"docs/systems/{name}.md", "options": options}
    if name in tasks() or name in CORPORA:
        task = tasks()[name] if name in tasks() else CORPORA[name]
        documentation = inspect.cleandoc(resolve(task.target).__doc__ or "")
        options = [asdict(option) for option in task_options(task)]
        about = {
            "summary": " ".join(documentation.partition("\n\n")[0].split()),
            "forms": attribute_meanings(documentation, "Forms"),
            "modifiers": modifiers_of(task),
        }
        return {"kind": "task", **asdict(task), **about, "docs": "docs/tasks.md", "options": options}
    if name in STUDIES:
        return {"kind": "study", **asdict(STUDIES[name]), "docs": f"docs/studies/{name}.md"}
    known = [*systems(), *RECIPES, *tasks(), *CORPORA, *STUDIES]
    raise UsageError(f"mnemic has no memory, recipe, task or study '{name}'{nearest(name, known)}")


def system_options(system: System) -> list[Option]:
    """The options of a mixer, or of a recall method with those that all methods share."""
    own = declared_options(system.target)
    if system.place != "storage":
        return own
    from mnemic.comparing.shared_options import NAMED, SharedOptions

    named = {option: names for (method, option), names in NAMED.items() if method == system.name}
    own = [replace(o, type=" | ".join(named[o.name]), default=named[o.name][0]) if o.name in named else o for o in own]
    return [*own, *model_options(SharedOptions)]


def model_options(rules: type[BaseModel]) -> list[Option]:
    """The options that a pydantic model holds, such as the rules of a recipe; it needs no torch."""
    types = get_type_hints(rules)
    return [
        Option(name, inspect.formatannotation(types[name]), field.get_default(), field.description or "")
        for name, field in rules.model_fields.items()
    ]


def task_options(task: Task) -> list[Option]:
    """The options of a task, from its pydantic fields; tasks need no torch."""
    task_class = resolve(task.target)
    types = get_type_hints(task_class)  # without what Annotated adds
    meanings: dict[str, str] = {}
    for ancestor in reversed(task_class.__mro__):
        meanings |= attribute_meanings(inspect.cleandoc(ancestor.__doc__ or ""))
    return [
        Option(
            name,
            inspect.formatannotation(types[name]),
            REQUIRED if field.is_required() else field.get_default(call_default_factory=True),
            field.description or meanings.get(name, ""),
        )
        for name, field in task_class.model_fields.items()
    ]


def modifiers_of(task: Task) -> dict[str, str]:
    """What can be added to a task's options: name -> meaning, without those that are options of its own."""
    from mnemic.tasks.blocks import BlockTask
    from mnemic.tasks.modified import MODIFIERS

    task_class = resolve(task.target)
    if not issubclass(task_class, BlockTask):
        return {}
    own = task_class.model_fields
    several = {"OPTION=32/64, OPTION=8-16": "every row draws one of these numbers",
               "train_OPTION=, test_OPTION=": "the same for train and valid, or for test, alone"}  # fmt: skip
    return {name: meaning for name, meaning in MODIFIERS.items() if name not in own} | several


def _print(described: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(f"{described['title']} ({described['kind']} {described['name']})", style="bold")
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="cyan", no_wrap=True)
    facts.add_column(overflow="fold")
    for fact, value in _facts(described):
        facts.add_row(fact, value)
    console.print(facts)
    if described.get("forms"):
        forms = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        forms.add_column(style="cyan", no_wrap=True)
        for form, meaning in described["forms"].items():
            forms.add_row(form, meaning)
        console.print("\nforms", style="bold")
        console.print(forms)
    if described.get("modifiers"):
        modifiers = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        modifiers.add_column(style="cyan", no_wrap=True)
        modifiers.add_column(overflow="fold")
        for modifier, meaning in described["modifiers"].items():
            modifiers.add_row(modifier, meaning)
        console.print("\nmodifiers", style="bold")
        console.print(modifiers)
    if described.get("options"):
        options = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("name", "default", "type", "meaning"):
            options.add_column(heading, style="cyan" if heading == "name" else "", no_wrap=heading == "name")
        for option in described["options"]:
            options.add_row(option["name"], _value(option["default"]), _type(option["type"]), option["description"])
        console.print("\noptions", style="bold")
        console.print(options)


def _facts(described: dict[str, Any]) -> list[tuple[str, str]]:
    is_method = described["kind"] == "system" and described["place"] == "storage"
    paper = described.get("paper") or described.get("source", "")
    arxiv = described.get("arxiv")
    facts = [
        ("what", described.get("summary", "")),
        ("place", described.get("place", "")),
        ("paper", f"{paper}, https://arxiv.org/abs/{arxiv}" if arxiv else paper),
        ("a passage holds" if is_method else "memory of one layer", described.get("memory", "")),
        ("code", described["target"]),
        ("docs", described["docs"]),
    ]
    if described["kind"] == "system":
        name = described["name"]
        facts += [
            ("study", described["study"] or "none yet"),
            ("try", f"mnemic compare {CORPORA['corpus'].example if is_method else _SMALL} {name}"),
        ]
    elif described["kind"] == "recipe":
        study, verb = described["study"], described["verb"]
        facts += [("study", f"mnemic reproduce {study}"), ("use", f"mnemic teach {verb} --help")]
    elif described["kind"] == "task":
        memories = "bm25 dense hybrid" if described["name"] in CORPORA else "attention mamba2"
        facts.append(("try", f"mnemic compare {described['example']} {memories}"))
    else:
        facts.append(("run", f"mnemic reproduce {described['name']}"))
    return [(fact, value) for fact, value in facts if value]


def _value(default: Any) -> str:
    return str(default) or '""'


def _type(annotation: str) -> str:
    """A type as users write values: 'Literal["a", "b"]' as 'a | b', and no module names."""
    short = re.sub(
        r"Literal\[(.*?)\]", lambda found: " | ".join(re.findall(r"""["']([^"']*)["']""", found[1])), annotation
    )
    short = re.sub(r"Optional\[(.*)\]", r"\1 | None", short)
    short = re.sub(r"Mapping\[.*?\]", "mapping", short)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", short)
