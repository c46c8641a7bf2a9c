import os
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.errors import MnemicError
from mnemic.report.claims import Claim
from mnemic.report.html import page, write_report
from mnemic.report.markup import Html, join, tag
from mnemic.report.records import Record

VOID = {"meta", "br", "hr", "link", "col"}
EVIL = "</style></script><img src=x onerror=alert(1)>\"'&amp;<!--\x00\x1b\ud800\u2028"


class Reader(HTMLParser):
    """Elements, attributes and text of a page; fails when tags are not nested."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append(name)
        self.attributes += attributes
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "\n".join(self.words)


def everywhere(text):
    """A run that carries a user's text in every place that a user can reach."""
    return {
        "run": text, "task": text, "memory": text, "example": text, "command": text, "commit": text, "error": text,
        "task_config": {text: text}, "shell": {text: [text]}, "training": {text: text, "steps": text},
        "layers": [{"mixer": text, text: text}], "versions": {text: text}, "hardware": {text: text}, "finished": text,
        "slices": {text: [{"value": text, "accuracy": 0.5}, {"value": text + "2", "accuracy": 0.5}]},
    }  # fmt: skip


def test_a_page_shows_all_there_is_to_know(recall_records, text_records, failed_record):
    shown = Reader(page([*recall_records, failed_record, *text_records], "Four memories"))
    for expected in (
        "Four memories", "no significant difference", "0.985–0.999", "64 KiB", "135,552", "Recall against memory",
        "56 bits to remember", "on the edge of the grid", "loss became NaN at step 120\nin layer 1", "2 × ",
        "k41 v203 k7 v166 k90 v131 · · k7 →v166 · k41 →v203", "--seeds 3", "2.13.0", "Some CPU @ 2.5 GHz", "e3147fa",
        "One seed: the intervals cover", "Failed runs (1)",
    ):  # fmt: skip
        assert expected in shown.text
    assert "script" not in shown.elements
    assert not [value for name, value in shown.attributes if name in {"src", "href"} and not value.startswith("#")]
    ids = [value for name, value in shown.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_markup_in_names_is_text(make_record):
    plain = Reader(page([make_record(**everywhere("plain"))], "plain", claims=[claim("plain")]))
    evil = Reader(page([make_record(**everywhere(EVIL))], EVIL, claims=[claim(EVIL)]))
    assert "img" not in evil.elements
    assert evil.elements == plain.elements
    assert "<img src=x onerror=alert(1)>" in evil.text
    assert not any(name.startswith("on") for name, _ in evil.attributes)


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_changes_the_page(make_record, text):
    """Whatever a name holds, the page has the elements that it has with an innocent name, and is valid UTF-8."""
    cheap = {"curve": [], "lengths": [], "cost": {}}
    record = make_record(**{**everywhere(text), **cheap, "slices": {}, "status": "failed"})
    Reader(page([record], text)).text.encode()


@given(
    st.recursive(st.text(st.characters()), lambda inner: st.lists(inner, max_size=3), max_leaves=8),
    st.text(st.characters()),
)
def test_strings_are_escaped_and_markup_is_not(content, attribute):
    built = tag("p", tag("b", "x"), content, title=attribute)
    shown = Reader(built)
    assert shown.elements == ["p", "b"]
    assert [name for name, _ in shown.attributes] == ["title"]
    assert join("<", Html("<br>"), None) == "&lt;<br>"


def test_a_page_of_nothing_is_a_page():
    assert "mnemic" in Reader(page([], "Nothing yet")).text
    assert (
        "No run of this task finished."
        in Reader(page([Record(run="a", task="t", memory="m", status="failed")], "x")).text
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": {"memory_bytes": 0, "peak_memory_bytes": 0, "tokens_per_second": 0.0, "train_seconds": 0.0}},
        {"lengths": [{"length": 0, "accuracy": 0.5}, {"length": 4, "accuracy": 0.4}]},
        {"metrics": {"accuracy": 1.0, "accuracy_low": 1.2, "accuracy_high": 0.3}},
        {"metrics": {"loss": -3.0, "loss_low": -4.0, "recall_hit_loss": 1e-30, "other_loss": 1e9}},
        {"curve": [{"step": 0, "valid_accuracy": 0.5}, {"step": 50}, {"step": 50, "valid_accuracy": 0.5}]},
        {"information_bits": 0.0, "lr": None, "layers": [], "hardware": {}},
        {"information_bits": 1e300},
    ],
)
def test_odd_numbers_still_make_a_page(make_record, changes):
    Reader(page([make_record(**changes)], "odd"))


def claim(text):
    return Claim(text=text, published=text, measured=text, threshold=text, holds=False)


def test_claims_come_first(make_record):
    holds = Claim(text="Attention solves it", published="1.00", measured=0.99841, threshold="at least 0.95", holds=True)
    shown = Reader(page([make_record()], "Zoology", claims=[holds, claim("fails")]))
    assert "1 of 2 claims hold." in shown.text
    assert "0.998" in shown.text
    assert "✗ does not hold" in shown.text


def test_an_older_report_stays_when_writing_fails(tmp_path, make_record, monkeypatch):
    path = tmp_path / "report.html"
    runs = [make_record(slices={}, lengths=[], curve=[], cost={})]
    write_report(runs, path, "first")
    before = path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(MnemicError, match="No space left on device"):
        write_report(runs, path, "second")
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_missing_folder_is_one_message(tmp_path, make_record):
    with pytest.raises(MnemicError, match=r"cannot write .*report.html: No such file or directory"):
        write_report([make_record()], tmp_path / "missing" / "report.html", "x")


def test_the_same_runs_make_the_same_page(make_record):
    runs = [make_record(slices={}, lengths=[]), make_record("attention", slices={}, lengths=[])]
    assert page(runs, "x") == page(runs, "x")
