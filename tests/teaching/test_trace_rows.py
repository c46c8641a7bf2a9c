"""Rows against their definition: what is asked, what is hidden, where they end, and which traces give none."""

import numpy as np
import pytest

from mnemic.errors import UsageError
from mnemic.teaching.memento.blocks import NEVER, parse_blocks, visible_until
from mnemic.teaching.memento.rules import MementoRules
from mnemic.teaching.records import TraceRecord, write_jsonl
from mnemic.teaching.tokenised_traces import tokenise_traces
from mnemic.teaching.trace_rows import RowOptions, TraceRows


@pytest.fixture
def tokenised(tmp_path, tokenizer):
    def make(records, **options):
        path = tmp_path / "traces.jsonl"
        write_jsonl(path, records)
        return tokenise_traces(path, tokenizer, **options)

    return make


def text(tokenizer, ids) -> str:
    return tokenizer.decode(ids)


def test_a_trace_is_the_prompt_then_what_the_model_writes(tokenised, tokenizer, make_trace):
    record = make_trace(blocks=((3, 1), (2, 0)))
    trace = tokenised([record])[0]
    words = [segment.text.strip() for segment in record.segments]
    wanted = (
        f"<|im_start|> user {record.prompt[0].content.strip()} <|im_end|> <|im_start|> assistant "
        f"<think> <|block_start|> {words[0]} <|block_end|> <|summary_start|> {words[1]} <|summary_end|> "
        f"<|block_start|> {words[2]} <|block_end|> </think> {record.answer.strip()} <|im_end|>"
    )
    assert text(tokenizer, trace.ids).split() == wanted.split()
    assert tokenizer.convert_ids_to_tokens(int(trace.ids[trace.answer_from])) == "<think>"


def test_labels_are_the_next_tokens_of_the_answer_and_nothing_else(tokenised, make_trace):
    traces = tokenised([make_trace()])
    for attention in ("full", "memento", "plain"):
        row = TraceRows(traces, RowOptions(attention=attention))[0]
        start = traces.answers_from[0]
        assert (row.labels[: start - 1] == -100).all()
        assert row.labels[-1] == -100
        np.testing.assert_array_equal(row.labels[start - 1 : -1], row.ids[start:])


def test_stages_differ_in_what_is_hidden_and_in_nothing_else(tokenised, make_trace):
    traces = tokenised([make_trace()])
    full, memento = (TraceRows(traces, RowOptions(attention=a))[0] for a in ("full", "memento"))
    np.testing.assert_array_equal(full.ids, memento.ids)
    np.testing.assert_array_equal(full.labels, memento.labels)
    assert (full.visible_until == NEVER).all()
    trace = traces[0]
    wanted = visible_until(trace.ids, traces.markers, MementoRules(), trace.roles)
    np.testing.assert_array_equal(memento.visible_until, wanted)
    assert (wanted != NEVER).any()


def test_the_control_has_the_reasoning_without_markers_and_mementos(tokenised, tokenizer, make_trace):
    record = make_trace()
    row = TraceRows(tokenised([record], form="plain"), RowOptions(attention="plain"))[0]
    _, _, said = text(tokenizer, row.ids).partition("<think>")
    assert said.split() == f"{record.reasoning} </think> {record.answer} <|im_end|>".split()


def test_restart_repeats_mementos_at_their_positions_and_asks_nothing_after_copies(tokenised, make_trace):
    traces = tokenised([make_trace(blocks=((4, 2), (3, 3)))])
    plain, again = (TraceRows(traces, RowOptions(attention=a)) for a in ("full", "restart"))
    assert len(again[0].ids) == again.lengths[0] == plain.lengths[0] + 3 + 4  # each with its start marker
    assert sorted(again[0].labels[again[0].labels != -100]) == sorted(plain[0].labels[plain[0].labels != -100])
    np.testing.assert_array_equal(again[0].ids, plain[0].ids[again[0].positions])


def test_without_loss_on_blocks_markers_mementos_and_the_answer_are_still_asked(tokenised, make_trace):
    traces = tokenised([make_trace()])
    row = TraceRows(traces, RowOptions(loss_on_blocks=False))[0]
    inside = np.zeros(len(row.ids), bool)
    for block in parse_blocks(row.ids, traces.markers):
        inside[block.start + 1 : block.end] = True
    asked = np.flatnonzero(row.labels != -100)
    answer = np.arange(traces.answers_from[0], len(row.ids))
    np.testing.assert_array_equal(asked + 1, answer[~inside[answer]])


@pytest.mark.parametrize("attention", ["full", "memento", "restart"])
def test_long_traces_end_after_a_whole_memento(tokenised, make_trace, attention):
    traces = tokenised([make_trace(blocks=((6, 2),) * 6, prompt=2)])
    whole = len(traces[0].ids)
    blocks = parse_blocks(traces[0].ids, traces.markers)
    seen = set()
    for limit in range(whole - 5, 24, -1):
        rows = TraceRows(traces, RowOptions(attention=attention, max_length=limit))
        row = rows[0]
        assert len(row.ids) == rows.lengths[0] <= limit
        end = int(row.positions[-1]) + 1
        assert end - 1 in {block.summary_end for block in blocks}
        seen.add(end)
        following = [b for b in blocks if b.summary_end + 1 > end]
        extra = sum(b.summary_end - b.summary_start for b in blocks if b.summary_end < end)
        more = following[0].summary_end - following[0].summary_start if attention == "restart" else 0
        grown = following[0].summary_end + 1 + (extra + more if attention == "restart" else 0)
        assert grown > limit, "one more memento would have fitted"
    assert len(seen) > 2


def test_traces_that_give_no_row_are_counted_by_reason(tokenised, make_trace):
    failed = make_trace(3).failed("teacher: said nothing")
    records = [make_trace(0), failed, make_trace(1, prompt=30), make_trace(2, blocks=((25, 2),))]
    rows = TraceRows(tokenised(records), RowOptions(max_length=30))
    assert dict(rows.dropped) == {"failed": 1, "prompt too long": 1, "no whole memento within max_length": 1}
    assert [rows.name(row) for row in range(len(rows))] == ["trace-0"]
    with pytest.raises(UsageError, match="max_length=8"):
        TraceRows(tokenised(records), RowOptions(max_length=8))


def test_tokens_are_kept_and_made_again_when_anything_changes(tmp_path, tokenised, tokenizer, make_trace):
    records, cache, told = [make_trace(n) for n in range(5)], tmp_path / "cache", []
    options = {"cache": cache, "on_progress": told.append}
    first = tokenised(records, **options)
    assert told == [5]
    again = tokenised(records, **options)
    assert told == [5], "it was read, not made"
    np.testing.assert_array_equal(first.ids, again.ids)
    assert (first.names, first.answers_from.tolist()) == (again.names, again.answers_from.tolist())
    (kept,) = cache.iterdir()
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 3] ^= 255
    kept.write_bytes(damaged)
    np.testing.assert_array_equal(first.ids, tokenised(records, **options).ids)
    assert told == [5, 5]
    tokenised(records[:4], **options)
    tokenised(records[:4], form="plain", **options)
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant", "assistant w1")
    tokenised(records[:4], **options)
    assert len(list(cache.iterdir())) == 4


def test_a_thinking_tag_that_the_template_opens_is_not_opened_twice(tokenised, tokenizer, make_trace):
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant {%", "assistant <think> {%")
    trace = tokenised([make_trace()])[0]
    assert text(tokenizer, trace.ids).count("<think>") == 1


def test_a_tokenizer_without_markers_or_an_empty_file_is_refused(tmp_path, tokenised, make_tokenizer, make_trace):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [make_trace()])
    with pytest.raises(UsageError, match="block_start"):
        tokenise_traces(path, make_tokenizer(markers=False))
    with pytest.raises(UsageError, match="holds no trace"):
        tokenised([TraceRecord.model_validate(make_trace().model_dump(by_alias=True)).failed("x: y")])
