"""Options that users write, checked by pydantic and refused in one line that names them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mnemic.errors import UsageError, nearest

__all__ = ["explain", "format_option", "validated"]

M = TypeVar("M", bound=BaseModel)


def validated(what: str, model: type[M], options: Mapping[str, Any]) -> M:
    """Build `model` from `options`.

    Args:
        what: whose options these are, for the message, such as "memory 'mamba2'".

    Raises:
        UsageError: an unknown option, with the nearest right ones, or a value that is refused, with the reason.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as wrong:
        raise UsageError(explain(what, model, wrong)) from None


def explain(what: str, model: type[BaseModel], wrong: ValidationError) -> str:
    """The first option that pydantic complains of, in the words of the command line."""
    error, *others = wrong.errors()
    option = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"{what}: unknown option '{option}'{nearest(option, model.model_fields)}"
    if error["type"] == "missing":
        return f"{what}: option '{option}' is missing"
    if error["type"] == "value_error":
        reason = str(error["ctx"]["error"])
    else:
        same = [error, *(other for other in others if other["loc"][:1] == error["loc"][:1])]
        reason = ", or ".join(dict.fromkeys(e["msg"].replace("Input should be", "must be") for e in same))
    given = f"{option}={_shortened(format_option(error['input']))}: " if option else ""
    return f"{what}: {given}{reason}"


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def format_option(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return str(value)
