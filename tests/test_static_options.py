"""What is read from a mixer's source is what pydantic finds in its class."""

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mnemic.catalogue import SYSTEMS, resolve
from mnemic.errors import MnemicError
from mnemic.static_options import REQUIRED, Option, declared_options

PACKAGE = {
    "__init__.py": "raise RuntimeError('reading options must not run the package')\n",
    "base.py": '''
from typing import ClassVar
from pydantic import BaseModel, Field

class Base(BaseModel):
    kind: ClassVar[str] = "base"
    width: int = Field(description="set by the model")
    heads: int = Field(4, ge=1, description="query " "heads")
    window: int = 8
    """tokens seen"""
''',
    "mixer.py": """
from typing import Literal
from pydantic import Field
from some_mixers.base import Base as Options

SIZE = 3

class Wave:
    config_class: type = WaveOptions

class Plain:
    pass

class PlainConfig(Options):
    pass

class WaveOptions(Options):
    '''A wave.

    Attributes:
        depth: layers, counted
            from below: the first is 1.
        power: of the wave
    '''

    heads: int = Field(default=2, description="fewer heads")
    gate: Literal["hard", "soft"] = "soft"
    size: int = Field(SIZE, description="taps")
    depth: int = 1
    rates: list[float] = Field(default_factory=list, description="rates")
    scale: float = Field(..., description="must be given")
    power: float = 2**0.5
    _hidden: int = 1
""",
}


@pytest.fixture
def some_mixers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_mixers"
    package.mkdir()
    for name, source in PACKAGE.items():
        (package / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)


def test_every_form_of_field_is_read_without_running_the_package(some_mixers: None) -> None:
    assert declared_options("some_mixers.mixer:Wave") == [
        Option("heads", "int", 2, "fewer heads"),
        Option("window", "int", 8, "tokens seen"),
        Option("gate", "Literal['hard', 'soft']", "soft", ""),
        Option("size", "int", 3, "taps"),
        Option("depth", "int", 1, "layers, counted from below: the first is 1."),
        Option("rates", "list[float]", [], "rates"),
        Option("scale", "float", REQUIRED, "must be given"),
        Option("power", "float", "2 ** 0.5", "of the wave"),
    ]
    assert "some_mixers" not in sys.modules


def test_the_name_of_the_options_class_may_follow_from_the_mixers(some_mixers: None) -> None:
    assert [option.name for option in declared_options("some_mixers.mixer:Plain")] == ["heads", "window"]


def test_a_mixer_that_is_not_there_is_named(some_mixers: None) -> None:
    with pytest.raises(MnemicError, match="no class 'Gone' in the source"):
        declared_options("some_mixers.mixer:Gone")
    with pytest.raises(MnemicError, match="no_such_package"):
        declared_options("no_such_package.mixer:Wave")


@pytest.mark.parametrize("name", [name for name, system in SYSTEMS.items() if system.place != "storage"])
def test_the_source_says_what_pydantic_finds(name: str) -> None:
    config = resolve(SYSTEMS[name].target).config_class
    read = {option.name: option for option in declared_options(SYSTEMS[name].target, frozenset())}
    assert list(read) == list(config.model_fields)
    for field_name, field in config.model_fields.items():
        default = REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
        stated = read[field_name].default
        if stated != default:  # no literal: its source text, which must come to the same
            stated = eval(stated, vars(sys.modules[config.__module__]))
        assert stated == default
        assert read[field_name].description == field.description


@pytest.mark.parametrize("name", [name for name, system in SYSTEMS.items() if system.place == "storage"])
def test_the_source_says_what_the_dataclass_of_a_recall_method_has(name: str) -> None:
    method = resolve(SYSTEMS[name].target)
    read = {option.name: option for option in declared_options(SYSTEMS[name].target)}
    assert list(read) == [field.name for field in fields(method) if field.name != "name"]
    for field in fields(method):
        if field.name == "name":
            assert field.default == name
            continue
        stated = read[field.name].default
        assert stated == field.default or eval(stated, vars(sys.modules[method.__module__])) == field.default
        assert read[field.name].description
