"""memento.json beside a checkpoint: what was taught to it, and so how it may be run."""

from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnemic.errors import UsageError
from mnemic.options import explain
from mnemic.teaching.json_file import write_json
from mnemic.teaching.memento.marker_text import MARKERS
from mnemic.teaching.memento.rules import MarkerIds, MementoRules
from mnemic.version import __version__

__all__ = ["NAME", "MementoFile", "TrainedWith", "check_may_evict", "read_memento_file", "write_memento_file"]

NAME = "memento.json"
TrainedWith = Literal["memento", "restart", "full", "plain"]
Four = Annotated[tuple[str, str, str, str], Field(description="block start, block end, summary start, summary end")]


class MementoFile(BaseModel):
    """What a server needs to know of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["mnemic.memento/1"] = Field("mnemic.memento/1", alias="schema", description="kind and version")
    markers: Four = Field(astuple(MARKERS), description="the markers as text")
    marker_ids: MarkerIds = Field(description="the markers' token ids, in the same order")
    rules: MementoRules = Field(MementoRules(), description="what is evicted, and when")
    trained_with: TrainedWith = Field(description="attention of the last stage; only memento and restart may evict")
    base_model: str = Field("", description="the model that was taught")
    mnemic_version: str = Field(__version__, description="of the mnemic that wrote the file")


def read_memento_file(folder: Path) -> MementoFile:
    """
    Raises:
        UsageError: the folder has none, or it cannot be read.
    """
    path = folder / NAME
    try:
        return MementoFile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"'{folder}' has no {NAME}, so it is no checkpoint taught by mementos") from None
    except ValidationError as wrong:
        raise UsageError(explain(str(path), MementoFile, wrong)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def write_memento_file(folder: Path, about: MementoFile) -> None:
    """Write `memento.json`, whole or not at all."""
    write_json(folder / NAME, about.model_dump(mode="json", by_alias=True))


def check_may_evict(about: MementoFile, *, force: bool = False) -> None:
    """
    Raises:
        UsageError: the checkpoint never learned to do without its blocks, and its rules would take them away.
    """
    if force or about.rules.keep_last_n_blocks < 0 or about.trained_with in ("memento", "restart"):
        return
    raise UsageError(
        f"this checkpoint was last trained under '{about.trained_with}' attention and never did without its blocks: "
        "with eviction its answers collapse; train the stage 'memento', export it with keep_last_n_blocks=-1 "
        "(nothing is evicted), or force it"
    )
