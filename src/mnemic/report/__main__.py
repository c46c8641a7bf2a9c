"""`python -m mnemic.report FOLDER`: the tables and the page once more, from the results.jsonl in a folder.

For results that were joined from several machines, and after an upgrade that shows more.
"""

import sys
from pathlib import Path

from rich.console import Console

from mnemic.errors import MnemicError, UsageError
from mnemic.report.findings import by_task
from mnemic.report.html import write_report
from mnemic.report.records import read_records
from mnemic.report.tables import results_table


def main(arguments: list[str]) -> None:
    """Print one table per task, write report.html, and say where it is.

    Raises:
        UsageError: not one folder, or one without results.
    """
    if len(arguments) != 1:
        raise UsageError("name one folder with a results.jsonl: python -m mnemic.report FOLDER")
    folder = Path(arguments[0])
    records = read_records(folder / "results.jsonl")
    if not records:
        raise UsageError(f"there are no results in '{folder}'; mnemic compare --output {folder} makes some")
    console = Console(highlight=False)
    for runs in by_task(records).values():
        console.print(results_table(runs))
    write_report(records, folder / "report.html", f"mnemic: {folder.name}")
    console.print(f"report: {(folder / 'report.html').resolve()}", soft_wrap=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except MnemicError as error:
        sys.exit(f"error: {error}")
