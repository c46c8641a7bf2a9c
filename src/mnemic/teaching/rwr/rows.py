"""The file of rows that a build leaves: the mixture of what could be made, and beside it what could not, and why."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import get_args

from mnemic.teaching.build_folder import written_aside
from mnemic.teaching.records import RecallRecord, numbered_lines
from mnemic.teaching.rwr.mixture import Kind, mix
from mnemic.teaching.rwr.options import MixtureRules
from mnemic.teaching.validation import rejected_path

__all__ = ["written_rows"]


def written_rows(folder: Path, made: str, result: str, rules: MixtureRules) -> tuple[dict[str, int], dict[str, int]]:
    """Write `result`.jsonl of what lies in `made`.jsonl, and count rows that could be made and reasons for others.

    Rows are looked up again by where their example begins: the whole need not fit into memory.
    """
    candidates: list[tuple[str, Kind]] = []
    places: list[tuple[int, int]] = []  # byte at which the example's line begins, number of the record in it
    reasons: Counter[str] = Counter()
    source, output = folder / f"{made}.jsonl", folder / f"{result}.jsonl"
    with source.open("rb") as file, written_aside(rejected_path(output)) as rejected:
        for _, line in numbered_lines(rejected_path(source)):
            rejected.write(line)
        start = 0
        for raw in file:
            item = json.loads(raw)
            for number, row in enumerate(item["records"]):
                candidates.append((row["id"], RecallRecord.model_validate(row).kind))
                places.append((start, number))
            for kind, reason in item["left_out"].items():
                reasons[reason.partition(":")[0]] += 1
                row = {"id": f"{item['id']}/{kind}", "status": "dropped", "reason": reason}
                rejected.write(json.dumps(row, ensure_ascii=False) + "\n")
            start += len(raw)
        with written_aside(output) as rows:
            for place in mix(candidates, rules):
                at, number = places[place]
                file.seek(at)
                rows.write(RecallRecord.model_validate(json.loads(file.readline())["records"][number]).dump() + "\n")
    kinds = Counter(kind for _, kind in candidates)
    return {kind: kinds[kind] for kind in get_args(Kind)}, dict(reasons.most_common())
