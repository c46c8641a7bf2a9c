"""What a reader must know before believing a table of recall methods."""

from __future__ import annotations

from collections.abc import Sequence

from mnemic.report.summary import Group
from mnemic.report.units import percent_text

__all__ = ["recall_warnings"]


_COUNTED = {
    "passages_without_text": "passages have no text and are in no store",
    "passages_not_understood": "passages whose facts the language model did not state",
    "llm_bad_replies": "replies of the language model could not be used",
}


def recall_warnings(groups: Sequence[Group]) -> list[str]:
    """Of methods that fell back on vectors, were given different encoders, or did not meet all of the data."""
    methods = [group for group in groups if group.first.recalls]
    return [*_unequal_encoders(methods), *(note for group in methods for note in _of_method(group))]


def _unequal_encoders(methods: Sequence[Group]) -> list[str]:
    encoders = {group.label: str(group.first.layers[0].get("encoder", "")) for group in methods if group.first.layers}
    if len(set(encoders.values())) < 2:
        return []
    listed = ", ".join(f"{label} {encoder}" for label, encoder in encoders.items())
    return [f"Not the same encoder everywhere ({listed}): methods and encoders are compared at once."]


def _of_method(group: Group) -> list[str]:
    first, extra = group.first, group.first.cost.model_extra or {}
    share = first.metrics.get("fallback_share")
    notes = []
    if share:
        notes.append(f"{group.label} gave up on {percent_text(share)} of the questions and answered them by vectors.")
    return notes + [f"{group.label}: {extra[name]:,} {what}." for name, what in _COUNTED.items() if extra.get(name)]
