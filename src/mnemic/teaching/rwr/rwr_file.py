"""rwr.json beside a checkpoint: how it was taught to recall, and so how it is best asked."""

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnemic.errors import UsageError
from mnemic.options import explain
from mnemic.teaching.json_file import write_json
from mnemic.teaching.rwr.layout import QueryPosition
from mnemic.teaching.rwr.recall_rows import Target
from mnemic.version import __version__

__all__ = ["NAME", "AsTaught", "RecallFile", "as_taught", "read_recall_file", "write_recall_file"]

NAME = "rwr.json"
_TRAINING_TOKENS = 6000


class RecallFile(BaseModel):
    """What whoever asks a taught model needs to know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["mnemic.rwr/1"] = Field("mnemic.rwr/1", alias="schema", description="kind and version")
    target: Target = Field(description="what was written where a row had a note")
    summary_share: float = Field(description="of mixed: the share of notes that stood alone")
    query_position: QueryPosition = Field(description="where the question stood")
    max_length: int = Field(description="tokens that no row exceeded")
    longest_row: int = Field(description="tokens of the longest row that was trained on")
    base_model: str = Field("", description="the model that was taught")
    mnemic_version: str = Field(__version__, description="of the mnemic that wrote the file")


class AsTaught(NamedTuple):
    """How a checkpoint is asked."""

    query_position: QueryPosition
    training_tokens: int
    is_known: bool


def as_taught(checkpoint: str, query_position: str | None, training_tokens: int | None) -> AsTaught:
    """What is given, and for the rest what the checkpoint's file says; without one, the paper's.

    Raises:
        UsageError: its file cannot be read.
    """
    about = read_recall_file(checkpoint)
    position = query_position or (about.query_position if about else "after")
    tokens = training_tokens or (about.longest_row if about else _TRAINING_TOKENS)
    return AsTaught(position, tokens, bool(training_tokens or about))  # type: ignore[arg-type]


def read_recall_file(checkpoint: str | Path) -> RecallFile | None:
    """What is said of a checkpoint, a folder or the run that holds it in model/; None where nothing is.

    Raises:
        UsageError: there is a file that cannot be read.
    """
    path = next((p for p in (Path(checkpoint) / "model" / NAME, Path(checkpoint) / NAME) if p.is_file()), None)
    if path is None:
        return None
    try:
        return RecallFile.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as wrong:
        raise UsageError(explain(str(path), RecallFile, wrong)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def write_recall_file(folder: Path, about: RecallFile) -> None:
    """Write `rwr.json`, whole or not at all."""
    write_json(folder / NAME, about.model_dump(mode="json", by_alias=True))
