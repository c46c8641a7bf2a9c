"""Whole builds: the oracle's boundaries are the true ones, no reasoning is lost, what is left out is counted."""

import json
import random

import pytest

from mnemic.errors import UsageError
from mnemic.llm import BudgetExhausted, FakeLLM
from mnemic.teaching.importers import from_rows
from mnemic.teaching.memento.boundaries import BOUNDARY_TAG
from mnemic.teaching.memento.build import build_traces
from mnemic.teaching.memento.estimate import estimate
from mnemic.teaching.memento.options import BuildOptions
from mnemic.teaching.memento.oracle import OracleTeacher
from mnemic.teaching.memento.prompts import PROMPT_HASH
from mnemic.teaching.memento.synthetic import synthetic_traces
from mnemic.teaching.memento.writing import JUDGEMENT_TAG, MEMENTO_TAG, WritingRules
from mnemic.teaching.pipeline import BuildStopped
from mnemic.teaching.records import read_jsonl
from mnemic.teaching.tokens import ApproximateTokens


@pytest.fixture
def made():
    return synthetic_traces("synthetic:count=4,blocks=4,seed=3")


def records(traces):
    return [trace.record for trace in traces]


def built(path):
    return list(read_jsonl(path / "traces.jsonl"))


def rejected(path):
    return [json.loads(line) for line in (path / "traces.rejected.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("method", ["exact", "greedy_dp"])
def test_boundaries_found_are_the_true_ones(tmp_path, made, method):
    llm = OracleTeacher(made)
    build = build_traces(records(made), tmp_path, llm, options=BuildOptions(method=method), workers=2)
    assert build.manifest.counts["ok"] == len(made)
    for trace, record in zip(made, built(tmp_path), strict=True):
        blocks = [s.text for s in record.segments if s.kind == "block"]
        ends = [sum(map(len, blocks[: n + 1])) for n in range(len(blocks) - 1)]
        assert tuple(ends) == trace.boundaries
        assert [s.text for s in record.segments if s.kind == "memento"] == [b.memento for b in trace.blocks]


def test_records_say_how_they_were_made_and_hold_the_reasoning(tmp_path, made):
    build_traces(records(made), tmp_path, OracleTeacher(made), workers=2)
    for trace, record in zip(made, built(tmp_path), strict=True):
        assert record.reasoning == trace.record.reasoning
        assert (record.prompt, record.answer, record.meta) == (
            trace.record.prompt,
            trace.record.answer,
            trace.record.meta,
        )
        assert record.provenance.teacher == "oracle"
        assert record.provenance.prompt_hash == PROMPT_HASH
        assert record.provenance.rounds == 2
        assert all(s.tokens for s in record.segments)
        assert {s.score for s in record.segments if s.kind == "memento"} == {10.0}


def test_history_of_every_memento_is_kept_with_the_stages(tmp_path, made):
    build_traces(records(made), tmp_path, OracleTeacher(made), workers=2)
    (file,) = tmp_path.glob("*-mementos.jsonl")
    histories = [m["history"] for line in file.read_text().splitlines() for m in json.loads(line)["item"]["mementos"]]
    assert {len(history) for history in histories} == {1, 2}
    refined = next(history for history in histories if len(history) == 2)
    assert [attempt["score"] for attempt in refined] == [6.0, 10.0]
    assert refined[0]["feedback"][0].startswith("Add: sum so far")


def test_judge_counts(tmp_path, made):
    """With one round the poor third of the drafts stays, and its traces fall under the least mean score."""
    options = BuildOptions(writing=WritingRules(rounds=1), filter={"min_mean_score": 9.5})
    build = build_traces(records(made), tmp_path, OracleTeacher(made), options=options, workers=2)
    assert build.manifest.counts["ok"] == 0
    assert build.manifest.dropped == {"mean_score": 4}
    assert {row["stage"] for row in rejected(tmp_path)} == {"traces"}


def test_two_builds_are_the_same(tmp_path, made):
    for name in "ab":
        build_traces(records(made), tmp_path / name, OracleTeacher(made), workers=3)
    assert (tmp_path / "a/traces.jsonl").read_bytes() == (tmp_path / "b/traces.jsonl").read_bytes()


def test_what_cannot_be_used_is_counted_with_its_reason(tmp_path, made):
    bad = [{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": text}]} for text in
           ("no thought", "<think>cut", "<think>a <|block_start|></think>b")]  # fmt: skip
    everything = [*records(made), *from_rows(bad, "x")]
    build = build_traces(everything, tmp_path, OracleTeacher(made), workers=2)
    assert build.manifest.counts == {"ok": 4, "dropped": 3, "failed": 0, "tried_again_next_time": 0}
    assert build.manifest.dropped == {"marker_leak": 1, "no_think_end": 2}
    assert build.report.dropped == {"marker_leak": 1, "no_think_end": 2}
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["traces"]["ok"] == 4
    assert report["config"]["tokens"] == "approximate-cl100k/1"


def test_teacher_that_answers_nonsense_fails_the_traces_and_loses_nothing(tmp_path, made):
    class HalfMad(OracleTeacher):
        def complete(self, messages, *, tag="", **options):
            if tag == MEMENTO_TAG and "Market 1 has" in messages[1]["content"]:
                return FakeLLM([("", "I'd rather talk about something else")]).complete(messages, tag=tag, **options)
            return super().complete(messages, tag=tag, **options)

    build = build_traces(records(made), tmp_path, HalfMad(made), workers=2)
    assert build.manifest.counts["ok"] == 3
    assert build.manifest.failed == {"BadReply": 1}
    (row,) = rejected(tmp_path)
    assert (row["id"], row["stage"], row["error"]) == ("synthetic-3-1", "mementos", "BadReply")
    again = build_traces(records(made), tmp_path, OracleTeacher(made), workers=2)
    assert again.manifest.counts["ok"] == 3
    retried = build_traces(records(made), tmp_path, OracleTeacher(made), workers=2, retry_failed=True)
    assert retried.manifest.counts["ok"] == 4
    assert [r.id for r in built(tmp_path)] == [t.record.id for t in made]


def test_budget_that_is_too_small_stops_and_the_next_run_goes_on(tmp_path, made):
    class Poor(OracleTeacher):
        left = 30

        def complete(self, messages, **options):
            if Poor.left == 0:
                raise BudgetExhausted("the budget is used up: max_requests is 30")
            Poor.left -= 1
            return super().complete(messages, **options)

    with pytest.raises(BuildStopped, match=r"max_requests is 30.*run the same again"):
        build_traces(records(made), tmp_path, Poor(made), workers=1)
    assert not (tmp_path / "traces.jsonl").exists()
    rest = OracleTeacher(made)
    build_traces(records(made), tmp_path, rest, workers=1)
    whole = OracleTeacher(made)
    build_traces(records(made), tmp_path / "whole", whole, workers=1)
    assert (tmp_path / "traces.jsonl").read_bytes() == (tmp_path / "whole/traces.jsonl").read_bytes()
    assert rest.totals.requests < whole.totals.requests


def test_other_options_need_another_folder(tmp_path, made):
    build_traces(records(made), tmp_path, OracleTeacher(made), workers=1)
    with pytest.raises(UsageError, match="another configuration"):
        build_traces(records(made), tmp_path, OracleTeacher(made), options=BuildOptions(min_tokens=100), workers=1)


def test_short_trace_is_one_block(tmp_path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": "1+1?"},
                {"role": "assistant", "content": "<think>It is two.</think>2"},
            ]
        }
    ]
    llm = FakeLLM(
        [
            (lambda call: call.tag == BOUNDARY_TAG, {"scores": []}),
            (lambda call: call.tag == MEMENTO_TAG, {"summaries": ["2"]}),
            (lambda call: call.tag == JUDGEMENT_TAG, {"score": 10, "feedback": []}),
        ]
    )  # fmt: skip
    build_traces(list(from_rows(rows, "x")), tmp_path, llm)
    (record,) = built(tmp_path)
    assert [(s.kind, s.text) for s in record.segments] == [("block", "It is two."), ("memento", "2")]


@pytest.mark.parametrize("options", [{}, {"two_pass": True}, {"writing": {"rounds": 3}}, {"writing": {"rounds": 1}}])
def test_estimate_holds(tmp_path, made, options):
    chosen = BuildOptions(**options)
    expected = estimate(records(made), chosen, ApproximateTokens())
    llm = OracleTeacher(made)
    build_traces(records(made), tmp_path, llm, options=chosen, workers=2)
    low, high = expected.calls
    assert low <= llm.totals.requests <= high
    assert expected.traces == len(made)
    assert expected.blocks[0] <= sum(len(trace.blocks) for trace in made) <= expected.blocks[1]


def test_estimate_counts_what_it_did_not_split():
    (trace,) = records(synthetic_traces("synthetic:count=1"))
    many = [trace] * 250 + [trace.failed("x: y")] * 3
    one, all_ = (estimate(some, BuildOptions(), ApproximateTokens()) for some in ([trace], many))
    assert (all_.traces, all_.unusable) == (250, 3)
    assert all_.calls == tuple(250 * calls for calls in one.calls)
    assert estimate([], BuildOptions(), ApproximateTokens()).calls == (0, 0)


def test_synthetic_traces_do_not_depend_on_how_many_there_are():
    few, more = synthetic_traces("synthetic:count=2,seed=5"), synthetic_traces("synthetic:count=5,seed=5")
    assert few == more[:2]
    assert few != synthetic_traces("synthetic:count=2,seed=6")
    with pytest.raises(UsageError, match="unknown option 'block'"):
        synthetic_traces("synthetic:block=3")


def test_synthetic_results_are_right():
    for trace in synthetic_traces("synthetic:count=3,blocks=3,steps=5,seed=11"):
        total = 0
        for block, note in zip(trace.blocks, trace.record.prompt[0].content.split(" Stall ")[1:], strict=True):
            numbers = note.partition("begins with ")[2].partition(".")[0].replace(" then ", " ").split(", ")
            left = sum(int(number) for number in numbers)
            total += left
            assert block.facts[1:] == (f"left {left}", f"sum so far {total}")
        assert trace.record.answer.strip().startswith(f"{total} ")


def test_the_oracle_knows_no_other_traces(tmp_path, made):
    strange = synthetic_traces("synthetic:count=1,blocks=6,seed=4")
    build = build_traces(records(strange), tmp_path, OracleTeacher(made), workers=1)
    assert build.manifest.failed == {"LLMError": 1}


def test_any_order_of_workers_gives_the_same_file(tmp_path, made):
    shuffled = records(made)
    random.Random(1).shuffle(shuffled)
    build_traces(shuffled, tmp_path, OracleTeacher(made), workers=4)
    assert [r.id for r in built(tmp_path)] == [r.id for r in shuffled]
