"""Kinds of values on the command line of `mnemic teach`."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["Decimate", "Pairs"]


class Pairs(click.ParamType[Any]):
    """ "2.5,10" as numbers, or "math=.6,code=.4" as numbers by name."""

    name = "numbers"

    def __init__(self, *, named: bool = False) -> None:
        self.named = named

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        try:
            if not self.named:
                numbers = tuple(float(part) for part in parts)
                if parts and min(numbers) >= 0:
                    return numbers
            elif parts and all("=" in part for part in parts):
                shares = {name.strip(): float(share) for name, _, share in (part.partition("=") for part in parts)}
                if min(shares.values()) >= 0:
                    return shares
        except ValueError:
            pass
        example = "math=.667,code=.213,science=.12" if self.named else "2.5,10"
        raise click.BadParameter(f"'{value}' is not a list such as {example}", ctx, param)


class Decimate(click.ParamType[Any]):
    """ "2000" or "2000,12", the options keep and layer of a decimation."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        keep, comma, layer = value.partition(",")
        try:
            found = {"keep": int(keep), **({"layer": int(layer)} if comma else {})}
        except ValueError:
            found = {}
        if not found or found["keep"] < 1 or found.get("layer", 0) < 0:
            raise click.BadParameter(
                f"'{value}' is not how many tokens to keep, or that and a layer: 2000,12", ctx, param
            )
        return found
