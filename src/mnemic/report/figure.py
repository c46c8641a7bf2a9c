"""One chart as inline SVG: matplotlib draws, the page's style sheet colours, the text stays text."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnemic.errors import MissingExtra
from mnemic.report.markup import Html, printable, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GRID",
    "INK",
    "MUTED",
    "SURFACE",
    "Chart",
    "Style",
    "canvas",
    "finish",
    "marks",
    "points",
    "short",
    "styles",
    "swatch",
]

# what matplotlib is told to draw with; no chart uses these for themselves, and the style sheet's variables replace them
INK, MUTED, GRID, SURFACE = "#010101", "#010102", "#010103", "#010104"
_SERIES = tuple(f"#0101{n:02x}" for n in range(16, 24))
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", SURFACE: "--card"} | {
    colour: f"--series-{n}" for n, colour in enumerate(_SERIES)
}
_MARKERS = {
    "o": 7.5,
    "s": 6.8,
    "D": 6.4,
    "^": 8.6,
    "v": 8.6,
    "P": 8.4,
    "X": 8.2,
    "p": 8.6,
    "h": 8.4,
    "d": 8.4,
    "*": 11.0,
}
_WIDTH, _SIZE = 360, 11  # points; a phone shows them at about nine tenths
_LABEL = 26


@dataclass(frozen=True)
class Style:
    """How one memory is drawn everywhere: a colour and, for those who cannot tell it, a shape."""

    colour: str
    marker: str

    @property
    def variable(self) -> str:
        return f"var({_VARIABLES[self.colour]})"


@dataclass(frozen=True)
class Chart:
    """A finished chart.

    Attributes:
        title: what is shown.
        svg: the drawing; its description says the numbers for those who cannot see it.
        labels: whose marks it holds, for the legend; empty where the drawing names them itself.
        note: how to read it, in a sentence.
        look: the styles of labels that the page's tables do not have.
    """

    title: str
    svg: Html
    labels: tuple[str, ...] = ()
    note: str = ""
    look: Mapping[str, Style] = field(default_factory=dict)


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """A style for each label; two of them share a colour only after the eighth, and then never the shape."""
    shapes = list(_MARKERS)
    return {
        label: Style(_SERIES[n % len(_SERIES)], shapes[(n + n // len(_SERIES)) % len(shapes)])
        for n, label in enumerate(dict.fromkeys(labels))
    }


@contextmanager
def canvas(height: int = 230) -> Iterator[Figure]:
    """An empty figure with the report's settings, whatever the user's matplotlibrc says."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        raise MissingExtra("an HTML report", "models") from missing
    settings = {
        "svg.fonttype": "none", "svg.hashsalt": "mnemic", "text.parse_math": False, "text.usetex": False,
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": _SIZE, "path.simplify": False,
        "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": GRID, "axes.titlecolor": MUTED,
        "axes.titlesize": _SIZE, "axes.titlelocation": "left", "axes.titlepad": 10.0, "axes.facecolor": "none",
        "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.linewidth": 1.0,
        "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.8,
        "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
        "xtick.labelsize": _SIZE, "ytick.labelsize": _SIZE, "ytick.left": False, "xtick.minor.bottom": False,
        "lines.linewidth": 1.8, "figure.facecolor": "none", "savefig.facecolor": "none",
    }  # fmt: skip
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        warnings.filterwarnings(
            "ignore", "Glyph .* missing from font"
        )  # the reader's browser has the fonts, not this one
        yield Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained")


def finish(figure: Figure, name: str, title: str, description: str) -> Html:
    """The figure as an SVG element for a page.

    Args:
        name: unique in the page; every id of the drawing begins with it.
        title: read aloud as its name.
        description: read aloud as its content.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(drawn.getvalue())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: _themed(key, value, name) for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update(attributes)
    used = set(re.findall(r"(?:#)([\w.-]+)", " ".join(v for e in root.iter() for v in e.attrib.values())))
    for parent in list(root.iter()):
        if parent.get("id") not in used:
            parent.attrib.pop("id", None)
        for child in [child for child in parent if child.tag in {"metadata", "style"}]:
            parent.remove(child)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"class": "chart", "role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    body = "".join(ElementTree.tostring(child, "unicode", short_empty_elements=False).strip() for child in root)
    label = tag("title", title, id=f"{name}-title") + tag("desc", description, id=f"{name}-desc")
    opening = ElementTree.tostring(ElementTree.Element("svg", root.attrib), "unicode").removesuffix(" />")
    return Html(f"{opening}>{label}{body}</svg>")


def swatch(style: Style) -> Html:
    """A memory's mark, for legends and tables; the very shape that the charts draw."""
    from matplotlib.markers import MarkerStyle
    from matplotlib.transforms import Affine2D

    marker = MarkerStyle(style.marker)
    shape = marker.get_path().transformed(marker.get_transform())
    reach = max(abs(value) for corner, _ in shape.iter_segments() for value in corner)
    shape = shape.transformed(Affine2D().scale(5.2 / reach, -5.2 / reach))
    commands = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    path = "".join(
        commands[int(code)] + ("" if code == 79 else " ".join(f"{value:.2f}" for value in points))
        for points, code in shape.iter_segments(simplify=False)
    )
    mark = tag("path", d=path, fill=style.variable)
    return tag("svg", mark, class_="swatch", viewBox="-6 -6 12 12", aria_hidden="true")


def short(label: str) -> str:
    """A label that fits beside a chart; its full text stands in the table."""
    one_line = " ".join(printable(label).split()) or "–"
    return one_line if len(one_line) <= _LABEL else one_line[: _LABEL // 2] + "…" + one_line[1 - _LABEL // 2 :]


def marks(style: Style) -> dict[str, Any]:
    """Line2D's arguments for a memory's mark, which is drawn whole at the edge of the axes too."""
    return {
        "color": style.colour, "marker": style.marker, "markersize": _MARKERS[style.marker],
        "markeredgecolor": SURFACE, "markeredgewidth": 1.1, "clip_on": False, "zorder": 3,
    }  # fmt: skip


def points(
    axes: Axes, style: Style, x: Sequence[float], y: Sequence[float], spans: Sequence[tuple[float, float]]
) -> None:
    """Marks with their intervals; the line under them is drawn by the caller where the points are connected."""
    below = [max(value - low, 0.0) for value, (low, _) in zip(y, spans, strict=True)]
    above = [max(high - value, 0.0) for value, (_, high) in zip(y, spans, strict=True)]
    axes.errorbar(x, y, yerr=(below, above), linestyle="none", ecolor=style.colour, elinewidth=1.4, **marks(style))


def _themed(key: str, value: str, name: str) -> str:
    local = key.rpartition("}")[2]
    if local == "id":
        return f"{name}-{value}"
    if local == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    value = re.sub(r"url\(#", f"url(#{name}-", value)
    if local == "style":
        value = re.sub(r"font(-family)?:\s*[^;]*;?", _font, value)
        value = re.sub("#0101[0-9a-f]{2}", lambda m: f"var({_VARIABLES.get(m[0], '--ink')})", value)
    return value


def _font(declaration: re.Match[str]) -> str:
    """Keep the size that matplotlib laid out with and leave the family to the page."""
    size = re.search(r"[\d.]+px", declaration[0])
    return f"font-size: {size[0]};" if size else ""
