"""The command line as a user meets it: help without torch, one clear line for every failure, a frozen surface."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

import mnemic
from mnemic import cli as command_line
from mnemic.catalogue import CORPORA, RECIPES, STUDIES, SYSTEMS, TASKS
from mnemic.cli.reference import page
from mnemic.errors import MnemicError, UsageError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "accelerate", "matplotlib", "tokenizers", "safetensors", "scipy", "pydantic", "numpy"}
EXTRAS = sorted(HEAVY - {"pydantic", "numpy"})

WITHOUT_EXTRAS = f"""
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, NotInstalled())
"""


def python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, cwd=cwd
    )


def without_extras(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`mnemic …` where no package of an extra can be imported."""
    return python(WITHOUT_EXTRAS + "from mnemic.cli import main; main()", *arguments, cwd=cwd)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line.cli, list(arguments))


@pytest.fixture
def failing_verb(monkeypatch: pytest.MonkeyPatch):
    """Adds the verb `fail`, which raises what it is given."""

    def add(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setitem(sys.modules, "tests_failing_verb", SimpleNamespace(command=command))
        monkeypatch.setitem(command_line.VERBS, "fail", ("tests_failing_verb", "Fails."))

    return add


@pytest.mark.parametrize("entry", ["import mnemic", "import mnemic.cli", "import mnemic.__main__"])
def test_importing_and_help_load_nothing_heavy(entry: str) -> None:
    done = python(
        "import sys; sys.argv = ['mnemic', '--help']\n"
        f"try:\n    {entry}\nexcept SystemExit as done:\n    assert done.code == 0\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    assert done.returncode == 0, done.stderr
    assert HEAVY.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "compare"),
        (["list"], "gated-deltanet"),
        *((["show", name], name) for name in [*SYSTEMS, *RECIPES, *TASKS, *CORPORA, *STUDIES]),
    ],
)
def test_the_core_works_without_extras(arguments: list[str], said: str) -> None:
    done = without_extras(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "mqar:pairs=4,length=32", "attention"],
        ["compare", "mqar:pairs=4,length=32", "mamba2", "--json"],
        ["reproduce", "zoology"],
        ["train", "config.yaml"],
    ],
)
def test_a_command_that_misses_an_extra_says_the_line_that_installs_it(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task: mqar:pairs=4,length=32\nmemory: attention\n")
    done = without_extras(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "pip install 'mnemic[models]'" in done.stderr


def test_help_names_every_verb_in_the_order_of_the_table() -> None:
    text = run("--help").output
    assert [text.index(f"\n  {verb} ") for verb in command_line.VERBS] == sorted(
        text.index(f"\n  {verb} ") for verb in command_line.VERBS
    )


def test_the_command_line_is_the_one_that_the_documentation_describes() -> None:
    written = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    assert written == page(), "python -m mnemic.cli.reference > docs/command-line.md, if the change is meant"


def test_no_arguments_show_the_help() -> None:
    done = run()
    assert done.exit_code == 2
    assert "compare" in done.output


def test_version() -> None:
    assert run("--version").output == f"mnemic {mnemic.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["comapre"], "unknown command 'comapre'; did you mean 'compare'?"),
        (["show", "mamba"], "no memory, recipe, task or study 'mamba'; did you mean 'mamba2'"),
        (["show", "zology"], "did you mean 'zoology'?"),
        (["show", "mquar"], "did you mean 'mqar'?"),
        (["list", "--jsn"], "'--jsn'"),
        (["show"], "Missing argument 'NAME'"),
    ],
)
def test_wrong_use_names_the_value_and_what_would_be_right(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("option 'pairs' is 0"), 2, "error: option 'pairs' is 0\n"),
        (MnemicError("loss is NaN at step 3"), 1, "error: loss is NaN at step 3\n"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, "error: permission denied: 'runs'\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: the disk is full; finished runs are kept"),
        (MemoryError(), 1, "error: out of memory"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "pip install 'mnemic[models]'"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(failing_verb, error: BaseException, code: int, said: str) -> None:
    failing_verb(error)
    done = run("fail")
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_a_bug_is_called_one_and_only_debug_shows_the_traceback(failing_verb) -> None:
    failing_verb(ZeroDivisionError("division by zero"))
    quiet, loud = run("fail"), run("--debug", "fail")
    assert quiet.exit_code == loud.exit_code == 1
    assert "ZeroDivisionError: division by zero" in quiet.stderr
    assert "mnemic --debug fail" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_a_verb_whose_import_misses_an_extra_names_itself(tmp_path: Path) -> None:
    (tmp_path / "needs_torch.py").write_text("import torch\n")
    code = f"{WITHOUT_EXTRAS}\nfrom mnemic import cli\ncli.VERBS['dream'] = ('needs_torch', 'Dreams.')\ncli.main()"
    done = python(code, "dream", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr == "error: mnemic dream needs the extra 'models'; install it with: pip install 'mnemic[models]'\n"
    )


def test_a_missing_package_of_ours_is_a_bug_not_an_extra(failing_verb) -> None:
    failing_verb(ModuleNotFoundError("No module named 'mnemic.gone'", name="mnemic.gone"))
    assert "this is a bug in mnemic" in run("fail").stderr


def test_a_reader_that_closes_the_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m mnemic list | head -n 1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.count("\n") == 1
    assert "Error" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_and_fails() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "mnemic", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_a_real_process_with_130() -> None:
    code = (
        "import sys, time, types, click\n"
        "from mnemic import cli\n"
        "def command():\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "sys.modules['waiting'] = types.SimpleNamespace(command=click.command()(command))\n"
        "cli.VERBS['wait'] = ('waiting', 'Waits.')\n"
        "cli.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_list_json_is_the_catalogue() -> None:
    listed = json.loads(run("list", "--json").stdout)
    assert {kind: [entry["name"] for entry in entries] for kind, entries in listed.items()} == {
        "systems": list(SYSTEMS),
        "recipes": list(RECIPES),
        "tasks": [*TASKS, *CORPORA],
        "studies": list(STUDIES),
    }


def test_list_shows_every_name() -> None:
    text = run("list").output
    assert all(f"{name} " in text for name in [*SYSTEMS, *RECIPES, *TASKS, *CORPORA, *STUDIES])


@pytest.mark.parametrize("name", SYSTEMS)
def test_show_system(name: str) -> None:
    shown, system = json.loads(run("show", name, "--json").stdout), SYSTEMS[name]
    assert (shown["kind"], shown["arxiv"], shown["memory"]) == ("system", system.arxiv, system.memory)
    assert shown["options"]
    assert all(option["description"] for option in shown["options"])
    text = run("show", name).output
    assert all(option["name"] in text for option in shown["options"])
    assert system.arxiv in text


@pytest.mark.parametrize("name", RECIPES)
def test_show_recipe(name: str) -> None:
    shown = json.loads(run("show", name, "--json").stdout)
    assert (shown["kind"], shown["arxiv"]) == ("recipe", RECIPES[name].arxiv)
    assert shown["options"]
    assert all(option["description"] for option in shown["options"])
    text = run("show", name).output
    assert f"mnemic teach {RECIPES[name].verb}" in text
    assert all(option["name"] in text for option in shown["options"])


@pytest.mark.parametrize("name", [*TASKS, *CORPORA])
def test_show_task(name: str) -> None:
    shown = json.loads(run("show", name, "--json").stdout)
    assert shown["kind"] == "task"
    assert shown["options"]
    assert all(option["description"] for option in shown["options"])
    assert run("show", {**TASKS, **CORPORA}[name].example).output == run("show", name).output
