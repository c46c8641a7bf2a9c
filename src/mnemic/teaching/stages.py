"""The stages of a build, and how an item goes through them."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mnemic.errors import MnemicError, UsageError
from mnemic.llm.errors import LLMError
from mnemic.teaching.stage_log import Entry, StageLog, Status, digest, json_text

__all__ = ["Dropped", "Outcome", "Route", "Stage", "StageFault"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Dropped(Exception):
    """Raised by a stage that does not want the item, which is no failure.

    The message is the reason; what stands before its first colon is counted.
    """


class StageFault(TypeError):
    """A stage returned what it may not, which is a mistake in its code."""


@dataclass(frozen=True)
class Stage:
    """One step of a build.

    Attributes:
        name: letters, digits and dashes; part of a file's name.
        version: raised whenever `work` would make something else of the same item.
        work: item in, item out, both JSON objects with the same "id". It keeps nothing between items, for they come
            from many threads in any order. `Dropped` leaves the item out, `MnemicError` makes it failed, with its
            message as the reason. A fatal `LLMError` ends the build; so does any other exception, which is a fault
            of the stage.
    """

    name: str
    version: int
    work: Callable[[dict[str, Any]], dict[str, Any]]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"stage '{self.name}': a stage's name is of small letters, digits, '-' and '_'")


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        stage: number of the stage that had the last word.
        is_new: this run worked on it.
    """

    status: Status
    stage: int
    entry: Entry
    is_new: bool


class Route:
    """Takes items through all stages, past those that have dealt with them before."""

    def __init__(self, stages: Sequence[Stage], logs: Sequence[StageLog], retry_failed: bool) -> None:
        self.stages, self.logs, self.retry_failed = stages, logs, retry_failed

    def take(self, item_id: str, text: str, should_stop: Callable[[], bool]) -> Outcome | None:
        """Work on the item until it has an outcome; None when the build stops before.

        Args:
            text: the item as JSON.
        """
        is_new = False
        for number, (stage, log) in enumerate(zip(self.stages, self.logs, strict=True)):
            given = digest(text)
            entry = log.find(item_id)
            if entry is None or entry.input != given or self._is_retried(entry):
                if should_stop():
                    return None
                is_new = True
                log.append({"id": item_id, **self._work(stage, item_id, text), "input": given})
                entry = log.find(item_id)
                assert entry is not None
            if entry.status != "ok" or number == len(self.stages) - 1:
                return Outcome(entry.status, number, entry, is_new)
            text = json_text(log.read(entry)["item"])
        raise AssertionError("a route has at least one stage")

    def _is_retried(self, entry: Entry) -> bool:
        return entry.status == "failed" and (entry.transient or self.retry_failed)

    @staticmethod
    def _work(stage: Stage, item_id: str, text: str) -> dict[str, Any]:
        try:
            result = stage.work(json.loads(text))
        except Dropped as dropped:
            return {"status": "dropped", "reason": str(dropped)}
        except MnemicError as failed:
            if isinstance(failed, LLMError) and failed.fatal:
                raise
            is_transient = isinstance(failed, LLMError) and failed.transient
            return {
                "status": "failed", "error": type(failed).__name__, "reason": str(failed), "transient": is_transient
            }  # fmt: skip
        expected = f"stage '{stage.name}' must return item '{item_id}' as a JSON object with its id"
        if not isinstance(result, dict) or result.get("id") != item_id:
            raise StageFault(f"{expected}, not {str(result)[:200]}")
        try:
            json_text(result)
        except (TypeError, ValueError) as wrong:
            raise StageFault(f"{expected}: {wrong}") from wrong
        return {"status": "ok", "item": result}
