"""Options that users write, checked by pydantic and refused in one line that names them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mnemic.errors import UsageError, nearest

__all__ = ["validated"]

M = TypeVar("M", bound=BaseModel)


def validated(what: str, model: type[M], options: Mapping[str, Any]) -> M:
    """Build `model` from `options`.

    Args:
        what: whose options these are, for the message, such as "task 'mqar'".

    Raises:
        UsageError: an unknown option, with the nearest right ones, or a value that is refused, with the reason.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as refused:
        raise UsageError("; ".join(_said(what, model, error) for error in refused.errors())) from None


def _said(what: str, model: type[BaseModel], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = [name for name in model.model_fields if name != "width"]
        return f"{what} has no option '{path}'{nearest(path, known)}"
    if error["type"] == "missing":
        return f"{what} needs the option '{path}'"
    reason = str(error["msg"]).removeprefix("Value error, ")
    if not path:
        return f"{what}: {reason}"
    return f"{what}: option '{path}' is {error['input']!r}: {reason}"
