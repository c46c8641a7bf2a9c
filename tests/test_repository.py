"""What holds for the whole project: its layers, its files, its pins, and nothing in it that belongs to one machine."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from statistics import median

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mnemic.catalogue import RECIPES, STUDIES, SYSTEMS, TASKS, Recipe, Study, System, Task

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/mnemic"
MODULES = sorted(SOURCE.rglob("*.py"))

# A folder may import those that stand below it; folders of one rank know nothing of each other.
RANKS = [
    {"cli"},
    {"studies"},
    {"integrations"},
    {"teaching"},
    {"training", "comparing"},
    {"report"},
    {"tasks", "models", "storage", "probes"},
    {"state", "context", "weights"},
    {"modules"},
    {"ops", "llm"},
]
AT_THE_BOTTOM = {"catalogue", "errors", "intervals", "options", "static_options", "version"}


def rank(folder: str) -> int:
    return next(number for number, folders in enumerate(RANKS) if folder in folders)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found.add(node.module)
            if node.module == "mnemic":
                found |= {f"mnemic.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project_files() -> list[Path]:
    """What is, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 0:
        return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]
    unpacked = ("src", "tests", "docs", "benchmarks", ".ci", ".github")
    return [p for p in [*ROOT.iterdir(), *(p for d in unpacked for p in (ROOT / d).rglob("*"))] if p.is_file()]


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != SOURCE], ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    folder = path.relative_to(SOURCE).parts[0]
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "mnemic" or len(parts) == 1 or parts[1] in AT_THE_BOTTOM | {folder, "__version__"}:
            continue
        below = rank(parts[1]) > rank(folder)
        assert below, f"{name_of(path)} in {folder}/ imports {module}"


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent == SOURCE and p.stem in AT_THE_BOTTOM], ids=name_of)
def test_the_bottom_imports_nothing_above_it(path: Path) -> None:
    ours = {module.split(".")[1] for module in imports(path) if module.startswith("mnemic.")}
    assert ours <= AT_THE_BOTTOM


@pytest.mark.parametrize("package", ["mnemic", "mnemic.tasks", "mnemic.report", "mnemic.cli", "mnemic.catalogue"])
def test_packages_that_promise_it_load_no_torch(package: str) -> None:
    code = (
        f"import pkgutil, sys, importlib, {package} as package\n"
        "for found in pkgutil.iter_modules(getattr(package, '__path__', []), package.__name__ + '.'):\n"
        "    if package.__name__ in ('mnemic.tasks', 'mnemic.report'):\n"
        "        importlib.import_module(found.name)\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch is loaded"


def test_files_stay_small() -> None:
    lengths = [len(path.read_text("utf-8").splitlines()) for path in MODULES]
    assert median([length for length in lengths if length > 5]) < 200


def test_nothing_names_a_machine_or_a_package_host() -> None:
    forbidden = re.compile(
        "|".join(
            [
                "/" + "(?:root|home|work|opt|Users)/[a-z]",
                r"\." + "library/",
                "pypi" + r"\.org",
                "python" + r"hosted\.org",
            ]
        )
    )
    found = []
    for path in project_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name_of(path)}: {match[0]}" for match in forbidden.finditer(text)]
    assert found == []


def test_reserved_seeds_are_not_used() -> None:
    reserved = re.compile(r"seeds?\s*(?:=|:|\()\s*\(?\[?\s*9\d{3}\b", re.IGNORECASE)
    assert [name_of(p) for p in project_files() if p.suffix == ".py" and reserved.search(p.read_text("utf-8"))] == []


def test_no_file_is_large() -> None:
    assert [name_of(path) for path in project_files() if path.stat().st_size > 1_000_000] == []


@pytest.mark.parametrize(
    "entry",
    [*SYSTEMS.values(), *RECIPES.values(), *TASKS.values(), *STUDIES.values()],
    ids=lambda entry: f"{type(entry).__name__.lower()}-{entry.name}",
)
def test_every_entry_of_the_catalogue_exists_and_is_tested(entry: System | Recipe | Task | Study) -> None:
    module, _, name = entry.target.partition(":")
    path = ROOT / "src" / (module.replace(".", "/") + ".py")
    assert re.search(rf"^(?:class |def )?{name}\b", path.read_text("utf-8"), re.MULTILINE)
    ours = {ROOT / "tests/cli/test_cli.py", ROOT / "tests/test_docs.py", Path(__file__).resolve()}
    word = re.compile(rf"(?<![\w-]){re.escape(entry.name)}(?![\w-])")
    tests = [test for test in (ROOT / "tests").rglob("test_*.py") if test not in ours]
    assert any(word.search(test.read_text("utf-8")) for test in tests), f"no test says {entry.name}"


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = {
    canonicalize_name(name): pin
    for name, _, pin in (line.partition("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines())
    if pin
}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    every = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return [r for r in map(Requirement, every) if r.name != "mnemic"]


def test_every_dependency_is_pinned_within_what_is_allowed() -> None:
    for requirement in requirements():
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement.name


def test_what_runs_here_is_what_is_pinned() -> None:
    for requirement in requirements():
        assert version(requirement.name).partition("+")[0] == PINS[canonicalize_name(requirement.name)]


def test_the_core_needs_no_torch() -> None:
    core = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert core == {"click", "numpy", "pydantic", "pyyaml", "rich"}


def test_every_third_party_import_is_declared() -> None:
    declared = {canonicalize_name(r.name) for r in requirements()} | {"mnemic"}
    modules = {module.partition(".")[0] for path in MODULES for module in imports(path)}
    distributions = {"yaml": "pyyaml", "pydantic_core": "pydantic", "llama_index": "llama-index-core"}
    foreign = {distributions.get(m, canonicalize_name(m)) for m in modules - set(sys.stdlib_module_names)}
    assert foreign <= declared


def test_workflow_and_ci_call_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert {"help", "setup", "demo", "test", "lint", "bench", "docs", "clean"} <= targets
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    called = re.findall(r"^ *make ([a-z]+)", "\n".join([*steps, (ROOT / ".ci/run").read_text("utf-8")]), re.M)
    assert ".ci/run" in steps
    assert {"lint", "test", "docs"} <= set(called) <= targets


def test_make_without_a_target_lists_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"make {target}" in done.stdout for target in ("setup", "demo", "test", "lint", "bench", "docs"))


def test_make_says_what_to_do_when_there_is_no_python(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(["make", "setup", "PYTHON="], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "apt-get install -y python3 python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_version_is_stated_once_and_cited() -> None:
    import mnemic

    assert f"version: {mnemic.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## [{mnemic.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_licence_is_apache_2_and_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text
    assert PROJECT["license"] == "Apache-2.0"
