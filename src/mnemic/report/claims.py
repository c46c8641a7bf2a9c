"""A paper's claim beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from rich.table import Table
from rich.text import Text

from mnemic.report.sheets import Sheet, sheets_json
from mnemic.report.units import score_text

__all__ = ["Claim", "claims_json", "claims_table"]


class Claim(BaseModel):
    """One claim and its verdict.

    Attributes:
        text: the claim in words.
        published: what the source reports.
        measured: what was seen here.
        threshold: what was asked of the measurement before it was made.
        holds: whether it meets the threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    published: str
    measured: float | str
    threshold: str
    holds: bool

    @property
    def seen(self) -> str:
        return self.measured if isinstance(self.measured, str) else score_text(self.measured)


def claims_table(claims: Sequence[Claim]) -> Table:
    table = Table("claim", "published", "measured", "asked", "holds", header_style="bold", show_lines=True)
    for claim in claims:
        verdict = Text("yes", style="green") if claim.holds else Text("no", style="bold red")
        table.add_row(Text(claim.text), Text(claim.published), Text(claim.seen), Text(claim.threshold), verdict)
    return table


def claims_json(system: str, scale: str, seed: int, claims: Sequence[Claim], sheets: Sequence[Sheet] = ()) -> str:
    """What `mnemic reproduce --json` prints; a study holds when each of its claims does."""
    listed = [claim.model_dump(mode="json") for claim in claims]
    return json.dumps(
        {
            "system": system,
            "scale": scale,
            "seed": seed,
            "holds": all(claim.holds for claim in claims),
            "claims": listed,
        }
        | ({"tables": sheets_json(sheets)} if sheets else {}),
        ensure_ascii=False,
    )
