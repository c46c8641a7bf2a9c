"""Numbers as people read them."""

from __future__ import annotations

import math

__all__ = [
    "bytes_text",
    "count_text",
    "difference_text",
    "latency_text",
    "percent_text",
    "rate_text",
    "score_text",
    "seconds_text",
]


def bytes_text(value: float) -> str:
    """65536 -> '64 KiB'; always binary units, three significant digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1023.5:
            return f"{_three(value)} {unit}"
        value /= 1024
    return f"{_three(value)} TiB"


def count_text(value: float) -> str:
    """123456 -> '123,456'."""
    return f"{round(value):,}"


def difference_text(value: float) -> str:
    """-0.05 -> '−0.050'; the sign is always there."""
    return f"{'−' if value < 0 else '+'}{score_text(abs(value))}"


def latency_text(value: float) -> str:
    """0.0042 -> '4.2 ms'."""
    return f"{_three(1000 * value)} ms" if value < 0.9995 else seconds_text(value)


def percent_text(value: float) -> str:
    """0.113 -> '11.3 %'."""
    return f"{100 * value:.1f} %"


def rate_text(value: float) -> str:
    """41234 -> '41.2 k'."""
    for unit in ("", " k", " M"):
        if abs(value) < 999.5:
            return _three(value) + unit
        value /= 1000
    return f"{_three(value)} G"


def seconds_text(value: float) -> str:
    """35.2 -> '35 s', 1200 -> '20 min'; in seconds for long, so that the costs of a table stay comparable by eye."""
    if value < 999.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    return f"{_three(value / 60)} min" if value < 7200 else f"{value / 3600:.1f} h"


def score_text(value: float) -> str:
    """An accuracy or a loss, to a thousandth; numbers too small for that keep two digits."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.0005 else f"{value:.1g}"


def _three(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value) * (1 + 5e-4))))
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"
