"""`mnemic reproduce`: what it prints, and how it exits."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mnemic.cli import cli
from mnemic.errors import UsageError
from mnemic.report.claims import Claim
from mnemic.report.records import Record, append_record
from mnemic.studies import zoology
from mnemic.studies.base import StudyResult


def claim(holds: bool) -> Claim:
    return Claim(text="It recalls", published="1.0", measured=0.5, threshold="at least 0.4", holds=holds)


RECORD = Record(run="a", task="mqar", memory="m", metrics={"accuracy": 0.5})


@pytest.fixture
def reproduce(monkeypatch, tmp_path: Path):
    asked = {}

    def run(*arguments: str, holds: bool = True) -> Result:
        def study(scale, seed, directory, on_event, **options):
            asked.update(scale=scale, seed=seed, directory=directory, **options)
            directory.mkdir(parents=True, exist_ok=True)
            append_record(directory / "results.jsonl", RECORD)
            return StudyResult((claim(True), claim(holds)), (RECORD,))

        monkeypatch.setattr(zoology, "study", study)
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(cli, ["reproduce", *arguments])
        done.asked = asked
        return done

    return run


@pytest.mark.parametrize("holds", [True, False])
def test_json_is_one_object_and_nothing_else(reproduce, holds: bool) -> None:
    done = reproduce("zoology", "--json", "--seed", "2", holds=holds)
    shown = json.loads(done.stdout)
    one = {"text": "It recalls", "published": "1.0", "measured": 0.5, "threshold": "at least 0.4"}
    assert shown == {
        "system": "zoology",
        "scale": "laptop",
        "seed": 2,
        "holds": holds,
        "claims": [{**one, "holds": True}, {**one, "holds": holds}],
    }
    assert done.exit_code == 0


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_strict_decides_the_exit_code(reproduce, holds: bool, code: int) -> None:
    assert reproduce("zoology", "--strict", holds=holds).exit_code == code


def test_people_get_a_table_and_a_report(reproduce, tmp_path: Path) -> None:
    done = reproduce("zoology", "--output", "here", "--jobs", "2", holds=False)
    assert "It recalls" in done.stdout
    assert "1 of 2 claims hold; report: here/report.html" in done.stderr
    page = (tmp_path / "here/report.html").read_text()
    assert "does not hold" in page
    assert done.asked == {
        "scale": "laptop", "seed": 1, "directory": Path("here"), "jobs": 2, "search": False,
    }  # fmt: skip


def test_results_that_are_there_are_kept_only_when_asked(reproduce) -> None:
    assert reproduce("zoology").asked["directory"] == Path("runs/zoology-laptop-1")
    refused = reproduce("zoology")
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert reproduce("zoology", "--resume").exit_code == 0
    assert reproduce("zoology", "--seed", "2").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["zology"], "unknown study 'zology'; did you mean 'zoology'?"),
        (["zoology", "--scale", "desk"], "'desk' is not one of 'laptop', 'gpu'"),
        (["zoology", "--seed", "-1"], "-1 is not in the range"),
    ],
)
def test_wrong_use_is_said(reproduce, arguments: list[str], said: str) -> None:
    done = reproduce(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_what_the_study_refuses_is_passed_on(monkeypatch, tmp_path: Path) -> None:
    def study(*_, **__):
        raise UsageError("seed 7000 chooses the learning rates")

    monkeypatch.setattr(zoology, "study", study)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["reproduce", "zoology", "--seed", "7000"])
    assert done.exit_code == 2
    assert "seed 7000" in done.stderr


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(monkeypatch, tmp_path: Path) -> None:
    def study(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(zoology, "study", study)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["reproduce", "zoology"])
    assert done.exit_code == 130
    assert "--resume" in done.stderr
