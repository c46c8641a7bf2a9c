import itertools
import re
import xml.etree.ElementTree as ElementTree
from importlib.resources import files

import numpy as np
import pytest

from mnemic.report.charts import line_chart, task_charts
from mnemic.report.figure import short, styles, swatch
from mnemic.report.summary import Estimate, group_runs

# Machado, Oliveira & Fernandes 2009: full loss of one kind of cone, on linear RGB
LOST_CONES = {
    "none": np.eye(3),
    "red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
}


def charts_of(records):
    groups = group_runs(records)
    return {c.title: c for c in task_charts("t", groups, records, styles([g.label for g in groups]))}


def test_a_recall_task_has_every_chart(recall_records):
    assert list(charts_of(recall_records)) == [
        "Recall against memory",
        "Recall against distance",
        "Recall against load",
        "Recall against length",
        "Memory against length",
        "Learning curves",
        "Tokens per second",
        "Peak memory, training time, size",
    ]


def test_text_shows_loss_on_hits_and_the_rest(text_records):
    charts = charts_of(text_records)
    assert list(charts)[:3] == ["Loss against memory", "Loss on recall hits and on the rest", "Loss against distance"]
    assert "attention 0.918 on hits, 1.812 elsewhere" in charts["Loss on recall hits and on the rest"].svg


def test_the_search_for_a_learning_rate_is_shown(make_record):
    final = make_record(slices={}, lengths=[], curve=[], cost={})
    search = [make_record(purpose="search", lr=lr, metrics={"accuracy": lr * 100}) for lr in (0.001, 0.003, 0.005)]
    assert list(charts_of([final, *search])) == ["Choosing the learning rate"]
    assert charts_of([final, *search[:1]]) == {}


def test_a_chart_without_data_is_left_out(make_record):
    bare = make_record(slices={}, lengths=[], curve=[], cost={}, metrics={"accuracy": 0.5})
    assert charts_of([bare]) == {}
    assert charts_of([make_record(status="failed")]) == {}


def test_marks_stand_where_the_numbers_are(make_record):
    """Read positions back from the drawing: equal steps in log memory, accuracy upwards from 0 to 1."""
    scores = {"a": (0.0, 2**10), "b": (0.5, 2**14), "c": (1.0, 2**18)}
    records = [
        make_record(memory=m, metrics={"accuracy": s}, cost={"memory_bytes": b}, information_bits=None)
        for m, (s, b) in scores.items()
    ]
    svg = charts_of(records)["Recall against memory"].svg
    root = ElementTree.fromstring(svg)
    at = {}
    for number in range(3):
        (use,) = [u for u in root.iter("use") if f"fill: var(--series-{number})" in u.get("style", "")]
        at[number] = float(use.get("x")), float(use.get("y"))
    assert at[1][0] - at[0][0] == pytest.approx(at[2][0] - at[1][0], abs=0.01)
    assert at[0][1] - at[1][1] == pytest.approx(at[1][1] - at[2][1], abs=0.01)
    assert at[0][0] < at[1][0]
    assert at[0][1] > at[2][1]


def test_bars_are_as_long_as_their_numbers(make_record):
    costs = {"a": 1000, "b": 500, "c": 250}
    records = [make_record(memory=m, cost={"tokens_per_second": v}) for m, v in costs.items()]
    svg = charts_of(records)["Tokens per second"].svg
    lengths = []
    for number in range(3):
        path = re.search(rf'<path d="([^"]+)"[^>]*style="fill: var\(--series-{number}\)', svg)[1]
        x = [float(value) for value in re.findall(r"[ML] ([\d.]+) ", path)]
        lengths.append(max(x) - min(x))
    assert lengths[0] / lengths[1] == pytest.approx(2, rel=1e-3)
    assert lengths[0] / lengths[2] == pytest.approx(4, rel=1e-3)


def test_one_style_per_memory_everywhere(recall_records):
    groups = group_runs(recall_records)
    look = styles([g.label for g in groups])
    for chart in task_charts("t", groups, recall_records, look):
        if "one by one" not in chart.svg:
            assert {f"--series-{n}" for n in range(4)} == set(re.findall(r"--series-\d", chart.svg))
    assert look["mamba2"].variable in swatch(look["mamba2"])


def test_thirty_memories_never_look_the_same():
    look = styles([f"m{n}" for n in range(30)])
    assert len(set(look.values())) == 30


def test_drawings_hold_text_as_text_and_only_the_themes_colours(recall_records, text_records):
    for records in (recall_records, text_records):
        for chart in charts_of(records).values():
            root = ElementTree.fromstring(chart.svg)
            assert [child.tag for child in root[:2]] == ["title", "desc"]
            assert root.get("aria-labelledby") == f"{root[0].get('id')} {root[1].get('id')}"
            assert not re.search(r"#[0-9a-f]{6}\b", chart.svg)
            assert not root.findall(".//style")
            assert len(root.findall(".//text")) >= 5
            ids = [e.get("id") for e in root.iter() if e.get("id")]
            assert len(ids) == len(set(ids))
            linked = re.findall(r'(?:href="|url\()#([^")]+)', chart.svg)
            assert set(linked) <= set(ids)
            assert chart.svg.count("href=") == chart.svg.count('href="#')


def test_names_are_shown_as_they_are(make_record):
    name = "$x_1$ <b>&\x00 _a"
    chart = charts_of([make_record(memory=name)])["Tokens per second"]
    shown = [text.text for text in ElementTree.fromstring(chart.svg).iter("text")]
    assert "$x_1$ <b>&\ufffd _a" in shown


def test_long_names_are_cut_in_the_middle():
    assert short("gated-deltanet") == "gated-deltanet"
    assert short("a" * 20 + "b" * 20) == "a" * 13 + "…" + "b" * 12
    assert short("two\n words") == "two words"


def test_studies_draw_their_own_lines():
    lines = {"attention": {16.0: Estimate(0.5, 0.4, 0.6, 0.5, 0.5, 1), 32.0: Estimate(1, 0.9, 1, 1, 1, 1)}, "none": {}}
    chart = line_chart(
        "f", "Recall against width", lines, styles(lines), x_label="width", y_label="accuracy", log_x=True
    )
    assert chart.labels == ("attention",)
    assert "attention: 0.500 at 16, 1.000 at 32" in chart.svg
    assert line_chart("f", "t", {"none": {}}, styles(["none"]), x_label="x", y_label="y") is None


def theme_colours():
    """Light and dark: name -> colour."""
    sheet = files("mnemic.report").joinpath("report.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", block)) for block in sheet.split("prefers-color-scheme")
    )
    return [light, dark]


def linear(colour):
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    """Ottosson 2020; distances are about even to the eye."""
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    cones = np.cbrt(np.array([*to_cones, [0.0883024619, 0.2817188376, 0.6299787005]]) @ np.clip(rgb, 0, 1))
    to_lab = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099]]
    return np.array([*to_lab, [0.0259040371, 0.7827717662, -0.808675766]]) @ cones


@pytest.mark.parametrize("theme", theme_colours(), ids=["light", "dark"])
@pytest.mark.parametrize("lost", LOST_CONES)
def test_colours_differ_for_the_colour_blind(theme, lost):
    labs = [oklab(LOST_CONES[lost] @ linear(theme[f"series-{n}"])) for n in range(8)]
    distances = {(a, b): np.linalg.norm(labs[a] - labs[b]) for a, b in itertools.combinations(range(8), 2)}
    assert min(distances.values()) > 0.055
    assert min(d for (a, b), d in distances.items() if b < 4) > 0.07


@pytest.mark.parametrize("theme", theme_colours(), ids=["light", "dark"])
def test_marks_stand_out_from_the_card(theme):
    """WCAG 2.2, 1.4.11: 3 to 1 for graphics."""
    luminance = {name: linear(colour) @ [0.2126, 0.7152, 0.0722] for name, colour in theme.items()}
    for n in range(8):
        darker, lighter = sorted([luminance[f"series-{n}"], luminance["card"]])
        assert (lighter + 0.05) / (darker + 0.05) >= 3
