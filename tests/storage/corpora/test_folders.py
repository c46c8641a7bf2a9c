"""Corpora in folders: both layouts, gzipped or not; what is wrong is named with its file and line."""

import gzip
import json

import pytest

from mnemic.errors import UsageError
from mnemic.storage.corpora import open_corpus
from mnemic.storage.encoders import open_encoder
from mnemic.storage.records import NewFact
from mnemic.storage.view import Entity, Passage

LINES = {
    "corpus.jsonl": [{"id": "a", "title": "Oslo", "text": "Oslo is in Norway."}, {"id": 2, "text": "No title."}],
    "questions.jsonl": [{"id": "q", "question": "Where is Oslo?", "answer": 5, "evidence": ["a"], "type": "where"}],
    "triples.jsonl": [
        {"id": "a", "entities": ["Oslo"], "triples": [["Oslo", "in", "Norway"], ["Oslo", "in", "Norway"], ["x", "y"]]}
    ],
}
PUBLISHED = {
    "corpus.json": [
        {"idx": 0, "title": "Oslo", "sentences": ["Oslo is", " in Norway."]},
        {"idx": 1, "title": "", "text": "b"},
    ],
    "questions.json": [{"id": "q", "question": "Where?", "answer": "N", "supporting": [0], "hops": 2}],
    "openie_model.json": [{"idx": 1, "entities": [], "triples": [["a", "b", "c"], ["a", 1, "c"], ["a", "!", "c"]]}],
}


def write(folder, files, zipped=False):
    for name, items in files.items():
        text = "\n".join(map(json.dumps, items)) + "\n\n" if name.endswith("l") else json.dumps(items)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_json_lines(tmp_path, zipped):
    corpus = open_corpus(write(tmp_path, LINES, zipped))
    assert corpus.passages == (Passage("a", "Oslo is in Norway.", "Oslo"), Passage("2", "No title."))
    [question] = corpus.questions
    assert (question.id, question.text, question.answer, question.kind) == ("q", "Where is Oslo?", "5", "where")
    assert question.evidence == {"a"}
    first, second = corpus.stored
    assert first.facts == (NewFact("Oslo", "in", "Norway"),)
    assert first.mentions == {Entity("Oslo", "oslo"): 1}
    assert (first.extractor, second.facts) == ("triples", ())
    assert not corpus.conversational


@pytest.mark.parametrize("zipped", [False, True])
def test_published_files(tmp_path, zipped):
    corpus = open_corpus(write(tmp_path, PUBLISHED, zipped))
    assert [passage.text for passage in corpus.passages] == ["Oslo is in Norway.", "b"]
    assert (corpus.questions[0].evidence, corpus.questions[0].kind) == ({"0"}, "2")
    assert [len(one.facts) for one in corpus.stored] == [0, 1]
    assert corpus.stored[1].extractor == "openie_model"


def test_views(tmp_path):
    encoder = open_encoder()
    corpus = open_corpus(write(tmp_path, LINES))
    assert len(corpus.view(encoder, extraction="stored").facts) == 1
    rules = corpus.view(encoder)
    assert {entity.norm_name for entity in rules.entities} == {"oslo", "norway"}
    assert corpus.view(encoder, extraction="none").entities == ()
    with pytest.raises(UsageError, match="extraction is 'rule'; must be rules, stored or none"):
        corpus.view(encoder, extraction="rule")
    (tmp_path / "triples.jsonl").unlink()
    with pytest.raises(UsageError, match=r"has no stored extractions; triples\.jsonl would hold them"):
        open_corpus(tmp_path).view(encoder, extraction="stored")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corpus.jsonl", '{"id": 1}', r"corpus\.jsonl:1: 'text' is nothing; must be str"),
        ("corpus.jsonl", '{"id": 1, "text": "a"}\n{"id"', r"corpus\.jsonl:2 is not JSON"),
        ("corpus.jsonl", "[1]", "is list; each line must be an object"),
        ("corpus.jsonl", '{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}', "two passages have the id '1'"),
        (
            "questions.jsonl",
            '{"id": 1, "question": "?", "evidence": ["z"]}',
            r"questions\.jsonl: 1 of 1 questions have evidence that is no passage .* the first is '1', which names 'z'",
        ),
        ("questions.jsonl", '{"id": 1, "question": "?", "evidence": "a"}', "'evidence' is str; must be list"),
        ("questions.jsonl", '{"id": 1, "question": 7.5, "evidence": [], "answer": true}', "'answer' is bool"),
        ("triples.jsonl", '{"id": "z"}', "'z' is no passage of the corpus"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, name, text, message):
    write(tmp_path, LINES)
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(UsageError, match=message):
        open_corpus(tmp_path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        open_corpus(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"has no corpus\.jsonl and no corpus\.json"):
        open_corpus(tmp_path)
    (tmp_path / "corpus.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        open_corpus(tmp_path)
    (tmp_path / "corpus.jsonl").write_bytes(gzip.compress(b"{}" * 100)[:-20])
    with pytest.raises(UsageError, match="cannot read"):
        open_corpus(tmp_path)
    (tmp_path / "corpus.jsonl").unlink()
    (tmp_path / "corpus.json").write_text("{}", "utf-8")
    with pytest.raises(UsageError, match="is dict; must be a list"):
        open_corpus(tmp_path)
