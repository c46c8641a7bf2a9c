"""Questions by the name of their source."""

import json

import pytest

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.questions import open_questions


def test_miniatures_of_both_kinds_and_several_lengths():
    items = open_questions("miniature:count=7,length=300-600,seed=3")
    assert len({item.id for item in items}) == 14
    assert sum(item.length() for item in items[7:]) > 1.5 * sum(item.length() for item in items[:7])
    assert {item.category for item in open_questions("miniature:like=helmet,count=7,length=100")} == {
        "recall", "rag", "rerank", "cite", "longqa", "summ", "icl",
    }  # fmt: skip


def test_some_questions_are_drawn_in_order_and_some_are_left_out():
    whole = open_questions("miniature:count=20,length=100")
    some = open_questions("miniature:count=20,length=100", limit=5, seed=1)
    assert [item for item in whole if item in some] == some
    assert len(some) == 5
    assert open_questions("miniature:count=20,length=100", limit=5, seed=2) != some
    assert len(open_questions("miniature:count=20,length=100", exclude=frozenset({whole[0].id}))) == 19


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("longmemevil:x.json", "did you mean 'longmemeval'"),
        ("helmet", "names no file"),
        ("convomem:gone.json", "no file"),
        ("miniature:size=3", "unknown option 'size'"),
        ("miniature:length=0", "length=0 must be"),
        ("miniature:length=5-5", "each once"),
        ("miniature:like=ruler", "like=ruler"),
    ],
)
def test_wrong_sources_are_explained(tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        open_questions(source)


def test_files_are_read_by_their_benchmark(tmp_path):
    row = {"question": "who?", "answers": ["Ada"], "ctxs": [{"title": "T", "text": "Ada."}]}
    (tmp_path / "nq.jsonl").write_text(json.dumps(row))
    assert [item.category for item in open_questions(f"helmet:{tmp_path}")] == ["rag"]
