"""`mnemic reproduce`: run a study and say which of a paper's claims hold."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mnemic.catalogue import Study, find_study, resolve
from mnemic.cli.compare_output import interrupted
from mnemic.cli.teach.teacher import client, price_of, server_options
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.studies.base import Scale, StudyResult

__all__ = ["command"]

_WORKERS = 16


@click.command("reproduce", context_settings={"show_default": True})
@click.argument("name")
@click.option("--scale", type=click.Choice(["laptop", "gpu"]), default="laptop", help="laptop: two CPU cores.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Of the judged runs.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a claim does not hold.")
@click.option("--search", is_flag=True, help="Choose the learning rates anew first; takes three times as long.")
@click.option("--jobs", type=click.IntRange(1), show_default="one per core or accelerator", help="Runs side by side.")
@click.option(
    "--output", "--out", type=click.Path(path_type=Path), show_default="runs/NAME-SCALE-SEED", help="Results folder."
)
@click.option("--resume", is_flag=True, help="Keep the finished runs of the folder and go on with the others.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="MNEMIC_DATA",
    help="Folder or file of the data that a study is about; it says which.  [env: MNEMIC_DATA]",
)
@click.option(
    "--vectors",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="OUTPUT/vectors.db",
    help="File of vectors that are slow to make.",
)
@server_options(
    "OpenAI-compatible server that indexes a corpus, for studies that do so at --scale gpu.", required=False
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
def command(
    name: str,
    scale: Scale,
    seed: int,
    strict: bool,
    search: bool,
    jobs: int | None,
    output: Path | None,
    resume: bool,
    data: Path | None,
    vectors: Path | None,
    as_json: bool,
    **server: Any,
) -> None:
    """Test the claims of a paper: what it published, what is measured here, and whether the claim holds.

    \b
    mnemic reproduce zoology
    mnemic reproduce zoology --seed 2 --strict --json
    mnemic reproduce zoology --data DIR
    mnemic reproduce hipporag --data DIR
    """
    entry = find_study(name)
    on_data = _data_options(entry, data, vectors, server)
    study = resolve(entry.target)
    from mnemic.cli.study_display import StudyDisplay
    from mnemic.training.runs import results_path

    directory = output or Path("runs") / f"{name}-{scale}-{seed}"
    _refuse_what_is_there(results_path(directory), resume)
    try:
        with ExitStack() as stack, StudyDisplay() as display:
            if server["teacher"] is not None:
                on_data["client"] = client({**server, "workers": _WORKERS}, directory, price_of(server), stack)
            result: StudyResult = study(scale, seed, directory, display, jobs=jobs, search=search, **on_data)
    except KeyboardInterrupt:
        interrupted()
        return
    _show(name, scale, seed, result, directory, as_json)
    if strict and not result.holds:
        click.get_current_context().exit(1)


def _data_options(study: Study, data: Path | None, vectors: Path | None, server: dict[str, Any]) -> dict[str, Any]:
    """What a study on given data takes beside the rest.

    Raises:
        UsageError: the data are missing, or the study makes its own.
    """
    given = {"--data": data, "--vectors": vectors, "--teacher": server["teacher"]}
    if server["teacher"] is not None and not server["model"]:
        raise UsageError(f"--model is missing: which model of {server['teacher']} is to be asked?")
    if not study.data:
        named = [option for option, value in given.items() if value is not None and _by_hand(option)]
        if named:
            raise UsageError(f"study '{study.name}' makes its own data; leave {named[0]} out")
        return {}
    if not study.needs_data:
        return _extra_data(study, given)
    if data is None:
        raise UsageError(f"study '{study.name}' needs --data PATH (or MNEMIC_DATA): {study.data}")
    if not data.exists():
        raise UsageError(f"--data '{data}' does not exist; it must be {study.data}")
    return {"data": data, "vectors": vectors}


def _extra_data(study: Study, given: dict[str, Any]) -> dict[str, Any]:
    """The data of a study that does without: what MNEMIC_DATA names may be another's, so only the option counts."""
    named = [option for option, value in given.items() if value is not None and _by_hand(option)]
    for option in named:
        if option != "--data":
            raise UsageError(f"study '{study.name}' has no use for {option}; leave it out")
    if not named:
        return {}
    data: Path = given["--data"]
    if not data.exists():
        raise UsageError(f"--data '{data}' does not exist; it must be {study.data}")
    return {"data": data}


def _by_hand(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option.removeprefix("--"))
    return source is ParameterSource.COMMANDLINE


def _refuse_what_is_there(path: Path, resume: bool) -> None:
    from mnemic.report.records import read_records

    there = read_records(path)
    if there and not resume:
        raise UsageError(
            f"{path} already holds {len(there)} runs; add --resume to keep the finished ones and run what is missing, "
            f"or name another folder with --output"
        )


def _show(name: str, scale: Scale, seed: int, result: StudyResult, directory: Path, as_json: bool) -> None:
    from rich.console import Console

    from mnemic.report.claims import claims_json, claims_table
    from mnemic.report.html import write_report
    from mnemic.report.sheets import sheet_table

    path = directory / "report.html"
    title = f"mnemic: {name}, {scale} scale, seed {seed}"
    write_report(result.records, path, title, claims=result.claims, figures=result.figures, sheets=result.sheets)
    if as_json:
        click.echo(claims_json(name, scale, seed, result.claims, result.sheets))
    else:
        console = Console(highlight=False)
        console.print(claims_table(result.claims))
        for sheet in result.sheets:
            console.print(sheet_table(sheet))
    held = sum(claim.holds for claim in result.claims)
    messages = Console(stderr=True, highlight=False)
    messages.print(f"{held} of {len(result.claims)} claims hold; report: {path}", soft_wrap=True)
