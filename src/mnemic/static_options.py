"""The options of a mixer, read from its source without importing it, so that `mnemic show` needs no torch.

What is read is what pydantic would find: the annotated fields of `XConfig`, the class that the mixer names as its
`config_class`, and those it inherits; a test holds the two readings equal for every mixer of the catalogue. A recall
method is a dataclass, and its fields are its options.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mnemic.errors import MnemicError

__all__ = ["REQUIRED", "Option", "attribute_meanings", "declared_options"]

REQUIRED = "required"


@dataclass(frozen=True)
class Option:
    """One option. `default` is the Python value, or its source text where that is no literal."""

    name: str
    type: str
    default: Any
    description: str


@dataclass(frozen=True)
class _Class:
    """A class statement and the module it stands in."""

    node: ast.ClassDef
    module: str


def declared_options(target: str, hidden: frozenset[str] = frozenset({"width", "name"})) -> list[Option]:
    """The options of the mixer or recall method "module:Class", in the order of declaration, base classes first.

    `hidden` names what the model or the method sets and no user does.
    """
    module, _, name = target.partition(":")
    mixer = _find_class(module, name)
    if mixer is None:
        raise MnemicError(f"no class '{name}' in the source of '{module}'")
    config = mixer if _is_dataclass(mixer) else _find_class(mixer.module, _config_name(mixer))
    if config is None:
        raise MnemicError(f"'{target}' has no options class '{_config_name(mixer)}' in its source")
    options: dict[str, Option] = {}
    for ancestor in _with_bases(config):
        for option in _fields(ancestor):
            options[option.name] = option
    return [option for option in options.values() if option.name not in hidden]


def attribute_meanings(docstring: str, section: str = "Args|Attributes") -> dict[str, str]:
    """What a section of a class docstring says of each name, on one line; by default "Args:" or "Attributes:"."""
    meanings: dict[str, str] = {}
    heading = re.search(rf"^(?:{section}):\n", docstring, re.MULTILINE)
    lines = (docstring[heading.end() :].partition("\n\n")[0] if heading else "").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    for line in lines:
        names, colon, meaning = line.strip().partition(": ")
        is_entry = all(name.isidentifier() for name in names.split(", ")) and len(line) - len(line.lstrip()) == indent
        if colon and is_entry:
            meanings |= dict.fromkeys(names.split(", "), meaning)
        elif meanings:
            meanings[next(reversed(meanings))] += f" {line.strip()}"
    return meanings


def _is_dataclass(mixer: _Class) -> bool:
    return any(ast.unparse(decorator).partition("(")[0] == "dataclass" for decorator in mixer.node.decorator_list)


def _config_name(mixer: _Class) -> str:
    """What the class body assigns to `config_class`, else the mixer's name with "Config" after it."""
    for statement in mixer.node.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        if isinstance(value, ast.Name) and any(isinstance(t, ast.Name) and t.id == "config_class" for t in targets):
            return value.id
    return f"{mixer.node.name}Config"


def _fields(config: _Class) -> Iterator[Option]:
    meanings = attribute_meanings(ast.get_docstring(config.node) or "")
    for statement, following in zip(config.node.body, [*config.node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name, annotation = statement.target.id, ast.unparse(statement.annotation)
        if name.startswith("_") or name == "model_config" or annotation.split("[")[0].endswith("ClassVar"):
            continue
        default, description = _default(statement.value, config.module)
        yield Option(name, annotation, default, description or _docstring(following) or meanings.get(name, ""))


def _default(value: ast.expr | None, module: str) -> tuple[Any, str]:
    """The default and the description that stand right of the "="."""
    if value is None:
        return REQUIRED, ""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Field"):
        return _literal(value, module), ""
    keywords = {keyword.arg: keyword.value for keyword in value.keywords}
    description = _literal(keywords["description"], module) if "description" in keywords else ""
    if "default_factory" in keywords:
        factory = ast.unparse(keywords["default_factory"])
        return {"list": [], "dict": {}, "tuple": ()}.get(factory, f"{factory}()"), description
    default = value.args[0] if value.args else keywords.get("default")
    if default is None or (isinstance(default, ast.Constant) and default.value is ...):
        return REQUIRED, description
    return _literal(default, module), description


def _literal(value: ast.expr, module: str) -> Any:
    """The value of a literal, or of a constant that its module defines; else the source text."""
    if isinstance(value, ast.Name):
        for statement in _tree(module).body:
            if isinstance(statement, ast.Assign) and any(ast.unparse(t) == value.id for t in statement.targets):
                return _literal(statement.value, module)
    try:
        return ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value)


def _docstring(statement: ast.stmt | None) -> str:
    """The string that stands alone below a field, if one does."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value).strip() if isinstance(statement.value.value, str) else ""
    return ""


def _with_bases(config: _Class) -> Iterator[_Class]:
    """The base classes whose source can be read, furthest first, then the class."""
    for base in reversed(config.node.bases):
        if isinstance(base, ast.Name) and (found := _find_class(config.module, base.id)):
            yield from _with_bases(found)
    yield config


def _find_class(module: str, name: str) -> _Class | None:
    """A class defined in a module, or imported into it from one of the same package."""
    tree = _tree(module)
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return _Class(statement, module)
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            same_package = statement.module.partition(".")[0] == module.partition(".")[0]
            for alias in statement.names if same_package else []:
                if (alias.asname or alias.name) == name:
                    return _find_class(statement.module, alias.name)
    return None


@cache
def _tree(module: str) -> ast.Module:
    """The syntax tree of a module, found below its top-level package without running any of it."""
    package, _, rest = module.partition(".")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MnemicError(f"no source of '{module}' is installed")
    path = Path(spec.origin)
    if rest:
        below = path.parent.joinpath(*rest.split("."))
        path = below / "__init__.py" if below.is_dir() else below.with_suffix(".py")
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MnemicError(f"the source of '{module}' cannot be read: {error.strerror}") from error
