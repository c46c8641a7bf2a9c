"""Text that is too large to be read whole: parquet files and datasets of the Hugging Face hub, document by document."""

from pathlib import Path

from mnemic.tasks.streams.base import DocumentSource
from mnemic.tasks.streams.hub import HUB, HubSource
from mnemic.tasks.streams.parquet import ParquetSource, parquet_files

__all__ = ["DocumentSource", "find_source"]


def find_source(path: str, field: str, config: str | None, split: str | None) -> DocumentSource | None:
    """The stream that a text's path names, None where the text is read whole.

    Args:
        path: "hf:NAME" for a dataset that the datasets library can load, a .parquet file, or a folder with some.
        field: the column of the text, or several joined by "+".
        config, split: of the dataset.

    Raises:
        UsageError: there is no such dataset, split or column.
        MissingExtra: the library for it is not installed.
    """
    columns = tuple(field.split("+"))
    if path.startswith(HUB):
        return HubSource(path.removeprefix(HUB), columns, config, split or "train")
    files = parquet_files(Path(path).expanduser())
    return ParquetSource(Path(path).expanduser(), files, columns) if files else None
