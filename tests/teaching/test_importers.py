"""Traces of every format come in whole, and what cannot be used says why."""

import gzip
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnemic.errors import MissingExtra, UsageError
from mnemic.teaching import sources
from mnemic.teaching.exporters import marker_string, open_mementos_row, write_open_mementos
from mnemic.teaching.importers import from_rows, import_row, read_traces
from mnemic.teaching.records import Message, Segment, TraceRecord, write_jsonl

THOUGHT = "\nFirst. Then\n\nmore. \n"


def chat(content="<think>" + THOUGHT + "</think>\n\n42", **fields):
    return {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": content} | fields]}


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    "row",
    [
        chat(),
        chat(THOUGHT + "</think>\n\n42"),
        chat("\n\n42", reasoning_content=THOUGHT),
        chat([{"type": "text", "text": f"<think>{THOUGHT}</think>\n\n42"}]),
        {"conversations": [
            {"from": "human", "value": "What?"}, {"from": "gpt", "value": f"<think>{THOUGHT}</think>\n\n42"}
        ]},
    ],
)  # fmt: skip
def test_reasoning_comes_in_byte_for_byte(row):
    (record,) = from_rows([row], "x.jsonl")
    assert record.status == "ok"
    assert record.reasoning == THOUGHT
    assert record.answer == "\n\n42"
    assert record.prompt == (Message(role="user", content="What?"),)


def test_earlier_turns_lose_their_reasoning():
    row = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "<think>easy</think>\n\n2"},
            {"role": "user", "content": "And 2+2?"},
            {"role": "assistant", "content": "<think>also easy</think>4"},
        ]
    }
    (record,) = from_rows([row], "x")
    assert [turn.content for turn in record.prompt] == ["Be brief.", "1+1?", "2", "And 2+2?"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (chat("only an answer"), "no_think_end"),
        (chat("<think>cut off in the mid"), "no_think_end"),
        (chat("Sure! <think>a</think>b"), "text_before_think"),
        (chat("<think> \n</think>b"), "no_reasoning"),
        (chat("<think>a <|block_end|> b</think>c"), "marker_leak"),
        (chat("<think>a</think>b</think>c"), "marker_leak"),
        (chat(None), "bad_row"),
        ({"messages": []}, "bad_row"),
        ({"messages": "no"}, "bad_row"),
        ({"messages": [{"role": "user", "content": "Hello?"}]}, "no_answer"),
        ({"messages": [{"role": "assistant", "content": "<think>a</think>b"}]}, "no_prompt"),
        ({"conversations": [{"from": "robot", "value": "a"}]}, "bad_row"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "no_answer"),
        ({"problem": "p", "response": "<think><|block_start|>a<|block_end|></think>b"}, "marker_leak"),
        ({"problem": "p", "response": None}, "bad_row"),
        (chat("<think>half a pair \ud800</think>b"), "not_unicode"),
        ({**chat("a"), "id": "\ud800", "domain": "\udfff"}, "no_think_end"),
    ],
)
def test_row_that_cannot_be_used_is_a_failed_record(row, reason):
    (record,) = from_rows([row], "x")
    assert record.status == "failed"
    assert record.error.startswith(f"{reason}: ")
    assert record.dump()


def test_ids_are_the_sources_or_made_of_the_text_and_never_twice():
    named = {**chat(), "id": "q7"}
    records = list(from_rows([named, chat(), chat(), chat("<think>other</think>1"), named], "x"))
    assert records[0].id == "q7"
    assert len({r.id for r in records}) == 5
    assert [r.error.split(":")[0] if r.error else None for r in records] == [
        None,
        None,
        "duplicate_id",
        None,
        "duplicate_id",
    ]


OPEN_MEMENTOS = {
    "problem": "What?",
    "response": "<think>\n<|block_start|>a. b<|block_end|>\n<|summary_start|>n1<|summary_end|>\n"
    "<|block_start|>c\n<|block_end|><|summary_start|>n2<|summary_end|>rest\n</think>\n\n42",
    "domain": "math",
    "source": "somewhere",
    "difficulty": None,
}


def test_open_mementos_come_in_and_go_out_unchanged():
    (record,) = from_rows([OPEN_MEMENTOS], "x")
    assert [(s.kind, s.text, s.block) for s in record.segments] == [
        ("other", "\n", None), ("block", "a. b", 0), ("other", "\n", None), ("memento", "n1", 0), ("other", "\n", None),
        ("block", "c\n", 1), ("memento", "n2", 1), ("other", "rest\n", None),
    ]  # fmt: skip
    assert marker_string(record) == OPEN_MEMENTOS["response"]
    assert open_mementos_row(record) == OPEN_MEMENTOS


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_open_mementos_files_are_read_back(tmp_path, suffix):
    records = list(from_rows([OPEN_MEMENTOS, {**OPEN_MEMENTOS, "problem": "Why?"}, chat("no")], "x", "open-mementos"))
    assert [r.status for r in records] == ["ok", "ok", "failed"]
    path = tmp_path / f"out.{suffix}"
    assert write_open_mementos(path, records) == 2
    assert [r.segments for r in read_traces(str(path))] == [r.segments for r in records[:2]]
    with pytest.raises(UsageError, match=r"written as \.jsonl or \.parquet"):
        write_open_mementos(tmp_path / "out.csv", records)


def test_what_open_mementos_has_no_room_for_is_refused():
    (record,) = from_rows([chat()], "x")
    two = record.model_copy(update={"prompt": (*record.prompt, Message(role="user", content="And?"))})
    with pytest.raises(UsageError, match="2 turns"):
        open_mementos_row(two)
    with pytest.raises(UsageError, match="cannot be exported"):
        marker_string(record.failed("x: y"))


def test_own_records_are_a_source(tmp_path):
    record = TraceRecord(id="a", prompt=(), segments=(Segment(kind="other", text="t"),), answer="")
    write_jsonl(tmp_path / "t.jsonl", [record])
    assert list(read_traces(str(tmp_path / "t.jsonl"))) == [record]


def test_sampling_reaches_every_shard(tmp_path):
    """Shards are sorted by domain; a head of the rows would be of one."""
    for shard, domain in enumerate(["code", "math", "science"]):
        rows = [{**OPEN_MEMENTOS, "problem": f"{domain} {n}", "domain": domain} for n in range(20)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{shard}.parquet", row_group_size=5)
    drawn = list(read_traces(str(tmp_path), limit=9))
    assert Counter(r.meta.domain for r in drawn) == {"code": 3, "math": 3, "science": 3}
    assert [r.id for r in drawn] == [r.id for r in read_traces(str(tmp_path), limit=9)]
    assert {r.id for r in drawn} != {r.id for r in read_traces(str(tmp_path), limit=9, seed=1)}
    assert len(list(read_traces(str(tmp_path), limit=1000))) == 60
    assert len({r.id for r in read_traces(str(tmp_path))}) == 60


def test_gzip(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(chat()) + "\n").encode()))
    assert [r.status for r in read_traces(str(path))] == ["ok"]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UsageError, match="cannot read"):
        list(read_traces(str(path)))


def test_hub_data_sets_are_streamed_shard_by_shard(tmp_path):
    for shard in range(2):
        rows = [{**OPEN_MEMENTOS, "problem": f"{shard}-{n}"} for n in range(5)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"train-{shard}.parquet")
    drawn = [r.prompt[0].content for r in read_traces(f"hf:{tmp_path}", limit=4)]
    assert Counter(name[0] for name in drawn) == {"0": 2, "1": 2}
    assert len(list(read_traces(f"hf:{tmp_path}"))) == 10
    with pytest.raises(UsageError, match="cannot open 'hf:"):
        list(read_traces(f"hf:{tmp_path}", split="nowhere"))


def test_missing_libraries_are_named(tmp_path, monkeypatch):
    import builtins

    load = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] in ("pyarrow", "datasets"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return load(name, *rest)

    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(builtins, "__import__", without)
    for source in (str(tmp_path), "hf:a/b"):
        with pytest.raises(MissingExtra, match="teaching"):
            list(read_traces(source))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}\n", "known are chat: messages"),
        ("[1]\n", "line 1 of .* is no JSON object"),
        ("\n{\n", "line 2 of .* is not JSON"),
    ],
)
def test_sources_that_are_wrong_are_explained(tmp_path, content, said):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match=said):
        list(read_traces(str(path)))


def test_sources_that_are_not_there_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("a,b")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet at all")
    for source, said in (
        (str(tmp_path / "none"), "hf:owner/name"),
        (str(tmp_path / "a.csv"), "traces are read from"),
        (str(tmp_path / "bad.parquet"), "is not parquet"),
    ):
        with pytest.raises(UsageError, match=said):
            list(read_traces(source))
    with pytest.raises(UsageError, match="did you mean 'chat'"):
        list(read_traces(str(tmp_path), format="chats"))
    (tmp_path / "bad.parquet").unlink()
    with pytest.raises(UsageError, match="has no file that ends in"):
        list(read_traces(str(tmp_path)))


def test_row_of_another_format_than_the_first_is_a_failed_record():
    records = list(from_rows([chat(), OPEN_MEMENTOS], "x"))
    assert [r.status for r in records] == ["ok", "failed"]
    assert records[1].error.startswith("bad_row: ")
    assert import_row(OPEN_MEMENTOS, "open-mementos", "x").status == "ok"


def test_shards_of_the_sources_module_are_named(tmp_path):
    lines(tmp_path / "b.jsonl", [chat()])
    lines(tmp_path / "a.jsonl", [chat()])
    assert [shard.name for shard in sources.open_shards(str(tmp_path))] == [
        str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")
    ]  # fmt: skip
