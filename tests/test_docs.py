"""The documentation is true: its links lead somewhere, its code runs, its commands exist, its lists are complete.

A block of code below `<!-- executed -->` is run; commands below `<!-- parsed -->` are held against the command line.
"""

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from mnemic.catalogue import RECIPES, STUDIES, SYSTEMS, TASKS
from mnemic.cli import VERBS, cli
from mnemic.tasks import parse_task

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- (?P<mark>executed|parsed) -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    mark: str | None
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    return [Block(found["mark"], found["language"], found["code"]) for found in BLOCK.finditer(page.read_text("utf-8"))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(block: Block) -> list[list[str]]:
    """The lines of a block that call mnemic, split as a shell does."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("mnemic ")]


def anchors(page: Path) -> set[str]:
    prose = BLOCK.sub("", page.read_text("utf-8"))
    titles = re.findall(r"^#+ (.+)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text("utf-8"))
    for target in (found["target"] for found in LINK.finditer(prose)):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        destination = (page.parent / path).resolve() if path else page
        assert destination.is_relative_to(ROOT), target
        assert destination.exists(), target
        if anchor:
            assert anchor in anchors(destination), target


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.mark == "executed" for b in blocks(p))], ids=name_of)
def test_executed_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "docs"}
    for block in blocks(page):
        if block.mark != "executed":
            continue
        if block.language == "python":
            exec(compile(block.code, name_of(page), "exec"), names)
            continue
        assert block.language == "sh"
        assert commands(block)
        for command in commands(block):
            done = CliRunner().invoke(cli, command)
            assert done.exit_code == 0, (command, done.output)


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.mark == "parsed" for b in blocks(p))], ids=name_of)
def test_parsed_commands_are_commands(page: Path) -> None:
    for block in blocks(page):
        for command in commands(block) if block.mark == "parsed" else []:
            assert_parses(command)


def assert_parses(command: list[str]) -> None:
    """The verb, its options and the tasks that it names are real; paths of examples need not exist."""
    verb, *arguments = command
    assert verb in VERBS, command
    context = click.Context(cli, info_name="mnemic")
    parsed = cli.get_command(context, verb).make_context(verb, arguments, parent=context)  # type: ignore[union-attr]
    for value in parsed.params.values():
        name = value.partition(":")[0] if isinstance(value, str) else ""
        if name in TASKS:
            parse_task(value)


def test_every_command_in_a_shell_block_that_calls_mnemic_is_marked() -> None:
    unmarked = [
        (name_of(page), command)
        for page in PAGES
        for block in blocks(page)
        if block.language in ("sh", "bash", "console") and block.mark is None
        for command in commands(block)
    ]
    assert unmarked == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_its_page_and_is_listed(name: str) -> None:
    system = SYSTEMS[name]
    text = (ROOT / system.docs).read_text("utf-8")
    assert f"\n## {system.title}\n" in text if system.page else text.startswith(f"# {system.title}\n")
    assert f"`{name}`, place: {system.place}." in text
    assert f"arxiv.org/abs/{system.arxiv}" in text
    readme = (ROOT / "README.md").read_text("utf-8")
    paper = f"[{system.arxiv}](https://arxiv.org/abs/{system.arxiv})" if system.arxiv else system.paper
    row = f"| [{system.title}]({system.docs}) | {system.place} | {paper} | ready: `{name}` |"
    assert row in readme
    assert f"[`{name}`]({Path(system.docs).name})" in (ROOT / "docs/systems/index.md").read_text("utf-8")


def test_the_readme_calls_ready_exactly_what_is_in_the_catalogue() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"ready: `([\w-]+)`", readme)) == sorted([*SYSTEMS, *RECIPES])


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_its_page_and_is_listed(name: str) -> None:
    recipe, text = RECIPES[name], (ROOT / f"docs/systems/{name}.md").read_text("utf-8")
    assert text.startswith(f"# {recipe.title}\n")
    assert f"`{name}`, a recipe; place: {recipe.place}." in text
    assert f"arxiv.org/abs/{recipe.arxiv}" in text
    assert f"[{recipe.title}](docs/systems/{name}.md)" in (ROOT / "README.md").read_text("utf-8")
    assert f"[`{name}`]({name}.md)" in (ROOT / "docs/systems/index.md").read_text("utf-8")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_section(name: str) -> None:
    assert name in anchors(ROOT / "docs/tasks.md")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_its_page(name: str) -> None:
    assert f"mnemic reproduce {name}" in (ROOT / f"docs/studies/{name}.md").read_text("utf-8")


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", str(site["nav"])))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}


def test_the_python_reference_names_what_exists() -> None:
    from mnemic.catalogue import resolve

    named = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs/reference.md").read_text("utf-8"), re.M)
    assert named
    for path in named:
        module, _, attribute = path.rpartition(".")
        assert path in sys.modules or resolve(f"{module}:{attribute}")
