"""The part of JSON Schema that replies are described with, checked in words a model can act on."""

from collections.abc import Iterator, Mapping
from typing import Any

from mnemic.errors import UsageError, nearest

__all__ = ["complaint_about", "refuse_unknown_keywords"]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_CHECKED = {
    "additionalProperties", "anyOf", "const", "enum", "items", "maxItems", "maxLength", "maximum", "minItems",
    "minLength", "minimum", "properties", "required", "type",
}  # fmt: skip
_SAID_ONLY = {"$schema", "default", "description", "examples", "title"}


def refuse_unknown_keywords(schema: Mapping[str, Any], where: str = "response_schema") -> None:
    """A keyword that would not be checked is refused, lest a schema promise what nobody holds.

    Raises:
        UsageError: names the keyword or the type and where it stands.
    """
    for keyword in schema:
        if keyword not in _CHECKED | _SAID_ONLY:
            raise UsageError(f"{where}: keyword '{keyword}' is not supported{nearest(keyword, _CHECKED)}")
    for kind in _types(schema):
        if kind not in _TYPES:
            raise UsageError(f"{where}: there is no type '{kind}'{nearest(str(kind), _TYPES)}")
    for part, place in _parts(schema, where):
        refuse_unknown_keywords(part, place)


def complaint_about(value: Any, schema: Mapping[str, Any], where: str = "the reply") -> str | None:
    """The first thing in `value` that `schema` does not allow, None when there is none."""
    if "anyOf" in schema:
        complaints = [complaint_about(value, option, where) for option in schema["anyOf"]]
        if None not in complaints:
            return " or ".join(str(c) for c in complaints)
    kinds = _types(schema)
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{where} must be {' or '.join(kinds)}, not {_kind(value)}"
    if "enum" in schema and not any(_same(value, allowed) for allowed in schema["enum"]):
        return f"{where} must be one of {', '.join(map(repr, schema['enum']))}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{where} must be {schema['const']!r}"
    if isinstance(value, dict):
        return _about_object(value, schema, where)
    if isinstance(value, list):
        return _about_array(value, schema, where)
    return _about_size(value, schema, where)


def _about_object(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> str | None:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where} lacks the key '{name}'"
    others = schema.get("additionalProperties", True)
    for name, held in value.items():
        if name in known:
            rule = known[name]
        elif others is False:
            return f"{where} has the key '{name}', which was not asked for"
        else:
            rule = others if isinstance(others, Mapping) else {}
        complaint = complaint_about(held, rule, f"'{name}' of {where}")
        if complaint is not None:
            return complaint
    return None


def _about_array(value: list[Any], schema: Mapping[str, Any], where: str) -> str | None:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < least or (most is not None and len(value) > most):
        wanted = f"{least}" if least == most else f"at least {least}" if len(value) < least else f"at most {most}"
        return f"{where} must have {wanted} items and has {len(value)}"
    for index, held in enumerate(value):
        complaint = complaint_about(held, schema.get("items", {}), f"item {index} of {where}")
        if complaint is not None:
            return complaint
    return None


def _about_size(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    size: float
    if isinstance(value, str):
        size, unit, low, high = len(value), " characters", schema.get("minLength"), schema.get("maxLength")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        size, unit, low, high = value, "", schema.get("minimum"), schema.get("maximum")
    else:
        return None
    if low is not None and size < low:
        return f"{where} must be at least {low}{unit}, not {size}"
    if high is not None and size > high:
        return f"{where} must be at most {high}{unit}, not {size}"
    return None


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = schema.get("type", ())
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _parts(schema: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for name, part in schema.get("properties", {}).items():
        yield part, f"{where}.{name}"
    for number, part in enumerate(schema.get("anyOf", ())):
        yield part, f"{where}.anyOf[{number}]"
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), Mapping):
            yield schema[keyword], f"{where}.{keyword}"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _same(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _kind(value: Any) -> str:
    return next(kind for kind in ("boolean", "integer", *_TYPES) if _is(value, kind))
