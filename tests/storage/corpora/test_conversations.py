"""LoCoMo and LongMemEval: turns, times, evidence; nothing that gives the answer away."""

import gzip
import json

import pytest

from mnemic.errors import UsageError
from mnemic.storage.corpora import open_conversations
from mnemic.storage.encoders import open_encoder
from mnemic.storage.evaluating import evaluate
from mnemic.storage.recall import open_method

TURNS = [
    [("D1:1", "Ann", "I adopted a puppy named Biscuit."), ("D1:2", "Bob", "How lovely.")],
    [("D2:1", "Ann", "The piano concert is on Friday."), ("D2:2", "Bob", "Look at this.")],
]
QA = [
    {"question": "What is the puppy called?", "answer": "Biscuit", "evidence": ["D1:01; D:1:1"], "category": 4},
    {"question": "When does Ann play the piano?", "answer": 5, "evidence": ["D2:1", "D1:9"], "category": 2},
    {"question": "What is the cat called?", "adversarial_answer": "Biscuit", "evidence": ["D1:1"], "category": 5},
    {"question": "Nothing shows it?", "answer": "no", "evidence": ["D7:1"], "category": 1},
]


def published():
    conversation = {"speaker_a": "Ann", "speaker_b": "Bob"}
    for number, turns in enumerate(TURNS, 1):
        conversation[f"session_{number}_date_time"] = f"1:56 pm on {number} May, 2023"
        conversation[f"session_{number}"] = [
            dict(zip(("dia_id", "speaker", "text"), turn, strict=True)) for turn in turns
        ]
    conversation["session_2"][1]["blip_caption"] = "a grand piano"
    summaries = {"session_1_summary": "Ann has a new puppy.", "session_2_summary": ""}
    return {"sample_id": "conv-1", "conversation": conversation, "qa": QA, "session_summary": summaries}


def single():
    keys = ("dia_id", "speaker", "text")
    sessions = [
        {"index": n, "date": f"1:56 pm on {n} May, 2023", "turns": [dict(zip(keys, t, strict=True)) for t in turns]}
        for n, turns in enumerate(TURNS, 1)
    ]
    return {"id": "26", "speakers": ["Ann", "Bob"], "sessions": sessions, "qa": QA}


def write(path, data):
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    return path


@pytest.mark.parametrize(("made", "captions"), [(published, True), (single, False)])
def test_locomo(tmp_path, made, captions):
    data = made()
    [corpus] = open_conversations(write(tmp_path / "c.json.gz", [data] if captions else data))
    turns = [passage for passage in corpus.passages if passage.level == "turn"]
    assert [turn.id for turn in turns] == ["D1:1", "D1:2", "D2:1", "D2:2"]
    assert turns[0].text == "Ann: I adopted a puppy named Biscuit."
    assert turns[3].text == ("Bob: Look at this. [shares a grand piano]" if captions else "Bob: Look at this.")
    assert (turns[0].session, turns[2].session) == ("session_1", "session_2")
    assert turns[2].time - turns[0].time == 24 * 3600 * 1_000_000
    first, second, third = corpus.questions
    assert (first.evidence, first.sessions, first.answerable) == ({"D1:1"}, {"session_1"}, True)
    assert (second.evidence, second.answer) == ({"D2:1"}, "5")
    assert (third.answerable, third.answer, third.kind) == (False, "Biscuit", "5")
    summaries = [passage for passage in corpus.passages if passage.level == "summary"]
    assert [(s.session, s.text) for s in summaries] == ([("session_1", "Ann has a new puppy.")] if captions else [])


def test_conversations_are_judged_by_session(tmp_path):
    [corpus] = open_conversations(write(tmp_path / "c.json", published()))
    view = corpus.view(open_encoder(), extraction="none")
    found = evaluate(open_method("hybrid"), [(corpus, view)], depths=(1, 2))
    assert found.values("recall@1") == [1, 1]
    assert found.values("turn_recall@1") == [1, 1]
    assert found.values("ndcg@2") == [1, 1]
    assert len(found.values("unanswerable_recall@1")) == 1
    assert found.summary()["all@2"].mean == 1
    assert set(found.metrics) == {
        *(f"{metric}@{k}" for metric in ("recall", "all", "ndcg", "turn_recall", "unanswerable_recall") for k in (1, 2))
    }
    assert found.median_seconds > 0
    assert [one.question for one in found.asked] == ["conv-1/1", "conv-1/2", "conv-1/3"]


def longmemeval(**changes):
    return {
        "question_id": "abc", "question_type": "temporal-reasoning", "question": "When?", "answer": 3,
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["answer_1", "other"],
        "haystack_dates": ["2023/05/21 (Sun) 02:21", "2023/05/20 (Sat) 02:21"],
        "haystack_sessions": [
            [
                {"role": "user", "content": "My trip was in May.", "has_answer": True},
                {"role": "assistant", "content": "Nice."},
            ],
            [{"role": "user", "content": "Hello."}],
        ],
        "answer_session_ids": ["answer_1"], **changes,
    }  # fmt: skip


def test_longmemeval(tmp_path):
    data = [longmemeval(), longmemeval(question_id="abc_abs")]
    first, second = open_conversations(write(tmp_path / "l.json", data))
    assert [passage.text for passage in first.passages] == [
        "user: Hello.",
        "user: My trip was in May.",
        "assistant: Nice.",
    ]
    assert [passage.session for passage in first.passages] == ["0", "1", "1"]
    [question] = first.questions
    assert (question.evidence, question.sessions, question.answer) == ({"1:0"}, {"1"}, "3")
    assert question.time > first.passages[2].time > first.passages[0].time
    assert not any("answer" in f"{passage.id} {passage.session}" for passage in first.passages)
    assert (question.answerable, second.questions[0].answerable) == (True, False)


def test_what_is_wrong_is_named(tmp_path):
    for data in ([], {}, [1], [{"qa": []}]):
        with pytest.raises(UsageError, match="holds no conversations"):
            open_conversations(write(tmp_path / "x.json", data))
    with pytest.raises(UsageError, match="1 haystack_session_ids, 2 dates, 2 sessions"):
        next(open_conversations(write(tmp_path / "l.json", [longmemeval(haystack_session_ids=["a"])])))
    broken = published()
    del broken["conversation"]["session_1"][0]["text"]
    with pytest.raises(UsageError, match="conversation 1: 'text' is nothing; must be str"):
        next(open_conversations(write(tmp_path / "c.json", [broken])))
    with pytest.raises(UsageError, match="cannot read"):
        open_conversations(tmp_path / "absent.json")
