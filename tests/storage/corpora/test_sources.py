"""What `corpus:DIR` and `conversation:FILE` name, and what is said where they name nothing that can be asked."""

import gzip
import json

import pytest
from small_corpora import lines, write_chat, write_corpus

from mnemic.errors import UsageError
from mnemic.storage.corpora.sources import content_digest, parse_source

TURNS = [
    {"session": "a", "actor": "Ann", "time": "2026-01-01T10:00:00Z", "text": "I like tea."},
    {"session": "a", "actor": "Ben", "time": "2026-01-01T10:01:00Z", "text": "I don't."},
    {"id": "x", "session": "b", "text": "It rains."},
]
ASKED = {"question": "Who likes tea?", "evidence": ["a:1"], "answer": "Ann"}
LOCOMO = {
    "id": "c1",
    "sessions": [
        {"index": 1, "date": "1:56 pm on 8 May, 2023", "turns": [{"speaker": "A", "dia_id": "D1:1", "text": "Hi"}]}
    ],
    "session_summary": {"session_1_summary": "A says hi."},
    "qa": [
        {"question": "Who?", "answer": "A", "evidence": ["D1:1"], "category": 4},
        {"question": "Where?", "answer": "?", "evidence": ["D9:9"], "category": 4},
    ],
}


def test_a_corpus(tmp_path):
    [plain] = parse_source(f"corpus:{write_corpus(tmp_path / 'plain')}").open()
    [zipped] = parse_source(f"corpus:path={write_corpus(tmp_path / 'zipped', zipped=True)}").open()
    assert plain.passages == zipped.passages
    assert plain.questions == zipped.questions
    assert content_digest([plain]) == content_digest([zipped])
    assert content_digest([plain]) != content_digest([plain, plain])
    assert parse_source("mqar:pairs=8") is None


def test_a_chat_has_its_questions_inside_or_beside(tmp_path):
    lines(tmp_path / "inside.jsonl", [*TURNS, ASKED])
    lines(tmp_path / "beside.jsonl", TURNS, zipped=True)
    lines(tmp_path / "beside.questions.jsonl", [ASKED])
    lines(tmp_path / "other.jsonl", [ASKED])
    specs = ("inside.jsonl", "beside.jsonl.gz", f"beside.jsonl.gz,questions={tmp_path / 'other.jsonl'}")
    for spec in specs:
        [corpus] = parse_source(f"conversation:{tmp_path / spec}").open()
        assert [(p.id, p.text, p.session, p.level) for p in corpus.passages] == [
            ("a:1", "Ann: I like tea.", "a", "turn"),
            ("a:2", "Ben: I don't.", "a", "turn"),
            ("x", "It rains.", "b", "turn"),
        ]
        [question] = corpus.questions
        assert (question.evidence, question.sessions, question.answerable) == ({"a:1"}, {"a"}, True)


def test_evidence_may_be_a_whole_session(tmp_path):
    lines(tmp_path / "chat.jsonl", [*TURNS, {"question": "When?", "evidence": ["b", "a:2"]}])
    [corpus] = parse_source(f"conversation:{tmp_path / 'chat.jsonl'}").open()
    assert (corpus.questions[0].evidence, corpus.questions[0].sessions) == ({"a:2"}, {"a", "b"})


def test_a_folder_of_conversations_is_read_once_each(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps([LOCOMO]))
    (tmp_path / "one.json.gz").write_bytes(gzip.compress(json.dumps(LOCOMO | {"id": "again"}).encode()))
    write_chat(tmp_path / "chat.jsonl")
    (tmp_path / "README.md").write_text("data")
    first, second = parse_source(f"conversation:{tmp_path}").open()
    assert (first.name, second.name) == ("c1", "chat.jsonl")
    assert first.notes == (
        "1 session summaries that the data set brings are read too; summaries=false leaves them out",
        "c1: 1 questions without evidence among the turns are not asked",
        "one.json.gz holds a conversation that all.json holds too; it is read once",
    )
    assert [p.level for p in first.passages] == ["turn", "summary"]
    [without] = parse_source(f"conversation:{tmp_path / 'all.json'},summaries=false").open()
    assert [p.level for p in without.passages] == ["turn"]
    (tmp_path / "a.json").write_text(json.dumps({k: v for k, v in LOCOMO.items() if k != "session_summary"}))
    assert len(parse_source(f"conversation:{tmp_path}").open()[0].passages) == 2, "the file that has more of it"


def test_questions_whose_evidence_is_not_there_are_counted_and_left_out(tmp_path):
    folder = write_corpus(tmp_path, triples=False)
    with (folder / "questions.jsonl").open("a") as file:
        file.write('{"id": "lost", "question": "?", "evidence": ["f0", "gone"]}\n')
    [corpus] = parse_source(f"corpus:{folder}").open()
    assert len(corpus.asked) == 16
    [note] = corpus.notes
    assert note.startswith("1 of 17 questions have evidence that is no passage of the corpus and are not asked")
    assert note.endswith("the first is 'lost', which names 'gone'")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("corpus", "'corpus' names no path; write corpus:path/to/folder"),
        ("corpus:", "names no path"),
        ("corpus:absent", "corpus 'absent' is no folder"),
        ("corpus:absent,k=3", "task 'corpus': unknown option 'k'"),
        ("conversation:absent.json", "conversation 'absent.json' does not exist"),
        ("conversation:chat.jsonl,summary=1", "unknown option 'summary'; did you mean 'summaries'"),
        ("conversation:empty", "folder 'empty' holds no conversations"),
        ("conversation:unasked.jsonl", "has no question with known evidence"),
        ("conversation:torn.json.gz", "cannot read 'torn.json.gz'"),
        ("conversation:text.jsonl", "text.jsonl:1 is not JSON"),
        ("conversation:stray.jsonl", "stray.jsonl:2: evidence 'z' is neither the id of a turn nor a session"),
        ("conversation:twice.jsonl", "twice.jsonl:2: two turns have the id 'x'"),
        ("conversation:asked-twice.jsonl", "two questions have the id 'q'"),
        ("conversation:nowhere.jsonl", "'session' is missing"),
        ("conversation:list.json", "holds no conversations in LoCoMo's or LongMemEval's format"),
        ("corpus:blank", "corpus.jsonl holds no passages"),
        ("corpus:same", "two questions have the id 'q'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    lines(tmp_path / "unasked.jsonl", TURNS)
    (tmp_path / "torn.json.gz").write_bytes(gzip.compress(b"[1, 2]" * 99)[:-9])
    (tmp_path / "text.jsonl").write_text("hello\n")
    lines(tmp_path / "stray.jsonl", [TURNS[0], {"question": "?", "evidence": ["z"]}])
    lines(tmp_path / "twice.jsonl", [TURNS[2], TURNS[2]])
    lines(tmp_path / "asked-twice.jsonl", [TURNS[0], ASKED | {"id": "q"}, ASKED | {"id": "q"}])
    lines(tmp_path / "nowhere.jsonl", [{"text": "hello"}])
    (tmp_path / "list.json").write_text("[1]")
    for name, passages, asked in (
        ("blank", [], []),
        ("same", [{"id": 1, "text": "a"}], [{"id": "q", "question": "?", "evidence": [1]}] * 2),
    ):
        (tmp_path / name).mkdir()
        lines(tmp_path / name / "corpus.jsonl", passages)
        lines(tmp_path / name / "questions.jsonl", asked)
    with pytest.raises(UsageError) as wrong:
        parse_source(spec).open()
    assert message in str(wrong.value)
