"""`python -m mnemic.report FOLDER` makes the tables and the page again, from the results alone."""

from pathlib import Path

import pytest

from mnemic.errors import UsageError
from mnemic.report.__main__ import main
from mnemic.report.records import Record, append_record


def test_one_table_per_task_and_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, task in enumerate(["mqar:pairs=4", "induction"]):
        run = {"run": f"{number:012}", "task": task, "memory": "mamba2", "metrics": {"accuracy": 0.25 + number / 2}}
        append_record(tmp_path / "results.jsonl", Record.model_validate(run))
    main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.index("mqar:pairs=4") < printed.index("induction")
    assert printed.count("mamba2") == 2
    assert printed.rstrip().endswith(str(tmp_path.resolve() / "report.html"))
    assert "induction" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("arguments", [[], ["one", "two"]])
def test_it_wants_one_folder(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="name one folder"):
        main(arguments)


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results in"):
        main([str(tmp_path)])
    assert not (tmp_path / "report.html").exists()
