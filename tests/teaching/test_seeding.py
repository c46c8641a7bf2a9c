"""What is kept of a source: no Chinese characters, so many answers of a question, so much of each domain."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.teaching.records import Message, Meta, Segment, TraceRecord
from mnemic.teaching.seeding import SeedRules, quotas, seed_traces


def trace(name, question="q", domain="math", text="thought"):
    return TraceRecord(
        id=name,
        prompt=(Message(role="user", content=question),),
        segments=(Segment(kind="other", text=text),),
        answer="a",
        meta=Meta(domain=domain),
    )


def seeded(traces, **rules):
    return list(seed_traces(lambda: iter(traces), SeedRules(**rules)))


@pytest.mark.parametrize(("char", "is_dropped"), [("\u4e00", 1), ("\u9fff", 1), ("\u4dff", 0), ("\ua000", 0), ("é", 0)])
def test_chinese_characters(char, is_dropped):
    (record,) = seeded([trace("a", text=f"x{char}y")])
    assert (record.status == "failed") == bool(is_dropped)
    assert not is_dropped or record.error.startswith("cjk: ")
    assert seeded([trace("a", text=f"x{char}y")], drop_cjk=False)[0].status == "ok"


def test_failed_imports_stay_with_their_reason():
    broken = trace("b").failed("no_think_end: cut")
    for rules in ({}, {"answers_per_question": 1}):
        assert seeded([broken], **rules) == [broken]


def test_answers_per_question():
    traces = [trace(f"{q}{n}", question=q) for q in "xyz" for n in range(5)]
    kept = seeded(traces, answers_per_question=2)
    assert Counter(r.prompt[0].content for r in kept) == {"x": 2, "y": 2, "z": 2}
    assert kept == seeded(traces, answers_per_question=2)
    assert kept != seeded(traces, answers_per_question=2, seed=1)
    assert [r.id for r in kept] == [r.id for r in traces if r in kept]


def test_whole_questions_need_every_answer():
    traces = [
        *(trace(f"x{n}", question="x") for n in range(3)),
        *(trace(f"y{n}", question="y", text="\u4e2d" if n == 1 else "t") for n in range(3)),
        *(trace(f"z{n}", question="z") for n in range(2)),
    ]
    outcome = seeded(traces, answers_per_question=3, whole_questions=True)
    assert [r.id for r in outcome if r.status == "ok"] == ["x0", "x1", "x2"]
    reasons = {r.id: r.error.split(":")[0] for r in outcome if r.status == "failed"}
    assert reasons == {"y0": "question", "y1": "cjk", "y2": "question", "z0": "question", "z1": "question"}


def test_domains_are_drawn_by_their_shares():
    traces = [trace(f"{d}{n}", question=f"{d}{n}", domain=d) for d in ("math", "code", "science") for n in range(30)]
    kept = seeded(traces, count=20, domains={"math": 0.5, "code": 0.3, "science": 0.2})
    assert Counter(r.meta.domain for r in kept) == {"math": 10, "code": 6, "science": 4}


def test_deficits_go_to_the_others_by_their_shares():
    assert quotas({"a": 2, "b": 100, "c": 100}, {"a": 0.5, "b": 0.3, "c": 0.2}, 22) == {"a": 2, "b": 12, "c": 8}
    assert quotas({"a": 2, "b": 3}, {"a": 0.5, "b": 0.5}, 100) == {"a": 2, "b": 3}
    assert quotas({"a": 10, "b": 10}, {"a": 1.0}, 15) == {"a": 10, "b": 0}
    assert quotas({"a": 30, "b": 10}, {}, 8) == {"a": 6, "b": 2}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(0, 50), st.floats(0.01, 1)), min_size=1),
    st.integers(0, 150),
)
def test_quotas_are_filled_and_never_more_than_there_is(domains, count):
    available = {d: n for d, (n, _) in domains.items()}
    taken = quotas(available, {d: share for d, (_, share) in domains.items()}, count)
    assert sum(taken.values()) == min(count, sum(available.values()))
    assert all(0 <= taken[d] <= available[d] for d in available)
