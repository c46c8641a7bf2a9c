"""The benchmarks' own schemas, read from small files made here; what is wrong in one is named with its place."""

import gzip
import json

import pytest

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.convomem import read_convomem
from mnemic.teaching.rwr.evaluation.helmet import read_helmet
from mnemic.teaching.rwr.evaluation.longmemeval import read_longmemeval
from mnemic.teaching.rwr.evaluation.longmemeval_agents import read_longmemeval_agents
from mnemic.teaching.rwr.evaluation.questions import open_questions
from mnemic.teaching.rwr.evaluation.scoring import score


def long_mem_question(**changes):
    said = [
        {"role": "user", "content": "I moved to Oslo.", "has_answer": True},
        {"role": "assistant", "content": "Ok."},
    ]
    return {
        "question_id": "q1",
        "question_type": "knowledge-update",
        "question": "Where do I live?",
        "answer": "Oslo",
        "question_date": "2023/06/01 (Thu) 10:00",
        "haystack_session_ids": ["answer_late", "filler"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/19 (Fri) 23:59"],
        "haystack_sessions": [said, [{"role": "user", "content": "Hello."}]],
        "answer_session_ids": ["answer_late"],
    } | changes


def written(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = isinstance(data, list) and path.name.endswith(".jsonl")
    path.write_text("\n".join(map(json.dumps, data)) if lines else json.dumps(data, indent=1))
    return str(path)


def test_longmemeval_sorts_by_time_hides_its_ids_and_knows_what_cannot_be_answered(tmp_path):
    path = written(tmp_path / "s.json", [long_mem_question(), long_mem_question(question_id="q2_abs", answer=3)])
    first, second = read_longmemeval(path)
    assert [p.date for p in first.context] == ["2023/05/19 (Fri) 23:59", "2023/05/20 (Sat) 02:21"]
    assert first.evidence == (first.context[1].id,)
    assert "answer" not in first.context_text
    assert first.context[1].turns[0].is_evidence
    assert "2023/06/01" in first.query_text
    assert (first.judging, first.is_abstention) == ("update", False)
    assert (second.judging, second.is_abstention, second.answers) == ("abstention", True, ("3",))
    assert list(read_longmemeval(path, exclude={"q1"})) == [second]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question_date": None}, "field 'question_date' is null"),
        ({"question_type": "riddle"}, "field 'question_type'"),
        ({"haystack_dates": ["2023/05/20 (Sat) 02:21"]}, "1 haystack_dates"),
        ({"haystack_dates": ["2023/05/20", "May 2023"]}, "field 'haystack_dates.1.' is 'May 2023'"),
        ({"haystack_sessions": [[], [{"role": "user"}]]}, "field 'haystack_sessions.1..0..content' is missing"),
        ({"answer_session_ids": ["gone"]}, "'gone'"),
        ({"answer": ""}, "field 'answer' is \"\"; it should have at least 1 character"),
        ({"answer": None}, "field 'answer' is null"),
    ],
)
def test_a_wrong_record_is_named_with_file_line_and_field(tmp_path, change, said):
    path = written(tmp_path / "s.json", [long_mem_question(), long_mem_question(**change)])
    line = 1 + path_lines(path, 1)
    with pytest.raises(UsageError, match=rf"record 2, line {line} of '.*s.json'.*{said}"):
        list(read_longmemeval(path))


def path_lines(path, records):
    """Lines before the record of that number."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    return [number for number, line in enumerate(lines) if line == " {"][records]


def test_a_missing_field_a_missing_file_and_no_json_at_all_are_told_apart(tmp_path):
    lacking = long_mem_question()
    del lacking["answer"]
    with pytest.raises(UsageError, match=r"line 2 of .*field 'answer' is missing"):
        list(read_longmemeval(written(tmp_path / "a.json", [lacking])))
    with pytest.raises(UsageError, match="no file"):
        list(read_longmemeval(str(tmp_path / "gone.json")))
    (tmp_path / "cut.json").write_text('[{"question_id": "q1", ')
    with pytest.raises(UsageError, match=r"record 1, line 1 of '.*cut.json' is not JSON"):
        list(read_longmemeval(str(tmp_path / "cut.json")))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("e.json", " \n", "is empty"),
        ("n.json", "null", "is not a list of records"),
        ("t.json", '[{"a": 1}]\n[{"a": 2}]', "record 1, line 1 of .*field 'question_id' is missing"),
        ("t.json", "[]\n[]", "line 1 of .* ends the list of records, but more follows"),
        ("s.json", '\n["q"]', 'record 1, line 2 of .* "q" is no JSON object'),
        ("b.jsonl", '\n\n{"question_id": "q"}', "record 1 of .*field 'question_type' is missing"),
        ("x.json.gz", "no", "cannot read"),
    ],
)
def test_files_that_hold_no_records_are_told_apart(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        list(read_longmemeval(str(tmp_path / name)))


@pytest.mark.parametrize(("name", "text"), [("e.jsonl", ""), ("e.json", "[]")])
def test_a_source_without_a_question_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=rf"data 'helmet:.*{name}' holds no question"):
        open_questions(f"helmet:{tmp_path / name}")


def test_files_may_be_packed(tmp_path):
    path = tmp_path / "s.json.gz"
    path.write_bytes(gzip.compress(json.dumps([long_mem_question()]).encode()))
    assert [item.id for item in read_longmemeval(str(path))] == ["q1"]


def agents(folder, **question):
    state = {"url": "http://shop", "accessibility_tree": "button Buy", "action": "click", "thought": "buy it"}
    trajectory = {"id": "t1", "domain": "web", "goal": "Buy", "start_url": "http://shop", "states": [state]}
    asked = {"id": "q1", "domain": "web", "question": "Which button buys?", "question_type": "static-state-recall",
             "answer": "Buy", "eval_function": "norm_phrase_set_match|lower=true"} | question  # fmt: skip
    written(folder / "questions.jsonl", [asked])
    written(folder / "trajectories.jsonl", [trajectory])
    written(folder / "haystacks/lme_v2_small.json", {asked["id"]: ["t1"]})
    return str(folder)


def test_longmemeval_v2_gives_each_question_its_trajectories(tmp_path):
    (item,) = read_longmemeval_agents(agents(tmp_path))
    assert item.context[0].id == "t1"
    assert "button Buy" in item.context_text
    assert score(item, "It is buy, I think").score == 1
    assert score(item, "buyer").score == 0
    (premise,) = read_longmemeval_agents(agents(tmp_path, eval_function="llm_abstention_checker"))
    assert premise.is_abstention
    assert list(read_longmemeval_agents(agents(tmp_path, image="x.png"))) == []


def test_longmemeval_v2_names_what_a_haystack_lacks(tmp_path):
    folder = agents(tmp_path)
    written(tmp_path / "haystacks/lme_v2_small.json", {"q1": ["t2"]})
    with pytest.raises(UsageError, match="'t2'"):
        list(read_longmemeval_agents(folder))
    with pytest.raises(UsageError, match="lme_v2_medium"):
        list(read_longmemeval_agents(folder, "medium"))


def convomem_case(category="user_evidence", **changes):
    fact = {"speaker": "User", "text": "My cat is Tom."}
    other = {"messages": [{"speaker": "User", "text": "Hi"}, {"speaker": "Assistant", "text": "Hello"}]}
    item = {"question": "Who is my cat?", "answer": "Tom", "message_evidences": [fact],
            "conversations": [{"messages": [fact]}], "category": category} | changes  # fmt: skip
    return {
        "evidenceItems": [item],
        "conversations": [other, {"messages": [fact], "id": "e", "containsEvidence": True}],
    }


def test_convomem_finds_the_conversations_of_the_evidence(tmp_path):
    path = written(tmp_path / "batched_000.json", [convomem_case(), convomem_case("abstention_evidence")])
    first, second = read_convomem(path)
    assert first.evidence == ("conversation 2",)
    assert [p.text for p in first.context] == ["user: Hi\nassistant: Hello", "user: My cat is Tom."]
    assert (first.id, second.id) == ("batched_000/0/0", "batched_000/1/0")
    assert second.is_abstention
    (alone,) = read_convomem(written(tmp_path / "e.json", {"evidence_items": convomem_case()["evidenceItems"]}))
    assert alone.evidence == ("conversation 1",)
    assert {i.id for i in read_convomem(str(tmp_path))} == {"batched_000/0/0", "batched_000/1/0", "e/0/0"}


def test_convomem_knows_its_two_kinds_of_files_when_they_are_packed_too(tmp_path):
    path = tmp_path / "e.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"evidence_items": convomem_case()["evidenceItems"]}).encode()))
    assert [item.id for item in read_convomem(str(path))] == ["e/0/0"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"evidence_items": [{"question": ', "is not JSON"),
        ('[{"evidenceItems": [}]', "record 1, line 1 of .*later.json' is not JSON"),
        ('{"items": []}', "a list of records, or an object with such a list under 'evidence_items'"),
        ('[{"conversations": []}]', "field 'evidenceItems' is missing"),
    ],
)
def test_convomem_names_a_file_that_is_broken(tmp_path, text, said):
    (tmp_path / "good.json").write_text(json.dumps([convomem_case()]))
    (tmp_path / "later.json").write_text(text)
    with pytest.raises(UsageError, match=rf"^(?=.*later\.json).*{said}"):
        list(read_convomem(str(tmp_path)))


def test_convomem_refuses_what_does_not_hold_together(tmp_path):
    with pytest.raises(UsageError, match=r"field 'category' is 'riddles'"):
        list(read_convomem(written(tmp_path / "a.json", [convomem_case("riddles")])))
    lost = convomem_case(message_evidences=[{"speaker": "User", "text": "never said"}])
    with pytest.raises(UsageError, match="no conversation holds"):
        list(read_convomem(written(tmp_path / "b.json", [lost])))
    with pytest.raises(UsageError, match=r"field 'evidenceItems\[0\].message_evidences\[0\].speaker' is \"Bot\""):
        list(read_convomem(written(tmp_path / "c.json", [convomem_case(message_evidences=[{"speaker": "Bot"}])])))


HELMET = {
    "json_kv/test_k50_dep6.jsonl": ({"context": "{}", "question": "k", "answer": "v", "num_kvs": 50, "demos": []}, "v"),
    "ruler/niah_mv/validation_4096.jsonl": (
        {"context": "c", "query": "fog", "type_needle_v": "numbers", "outputs": ["12", "34"]}, "34 and 12"),
    "kilt/nq.jsonl": (
        {"question": "who?", "answers": ["Ada"], "ctxs": [{"title": "T", "text": "Ada.", "has_answer": True}]}, "Ada"),
    "msmarco/test.jsonl": (
        {"qid": "7", "query": "q", "ctxs": [{"id": "a", "text": "", "label": 0}, {"id": "b", "text": "y", "label": 3}]},
        "Ranking: b > a"),
    "alce/asqa.json": (
        {"question": "q", "answer": "long", "docs": [{"title": "T", "text": "x"}],
         "qa_pairs": [{"short_answers": ["one", "1"]}, {"short_answers": ["two"]}]}, "one [1] and two [1]"),
    "inf/choice.jsonl": ({"context": "c", "input": "q?", "answer": ["red"], "options": ["blue", "red"]}, "B"),
    "inf/sum.jsonl": ({"context": "c", "input": "", "answer": ["all ends well"], "options": []}, "all ends well"),
    "nqa/test.jsonl": (
        {"document": {"text": "story"}, "question": {"text": "who?"}, "answers": [{"text": "the king"}]}, "King"),
    "lexsum/v.jsonl": ({"sources": ["a", "b"], "summary/short": "settled"}, "It was settled"),
}  # fmt: skip


def test_helmet_knows_its_records_by_their_fields(tmp_path):
    for name, (row, _) in HELMET.items():
        written(tmp_path / name, {"data": [row]} if name.endswith(".json") else [row])
    items = list(read_helmet(str(tmp_path)))
    assert {item.category for item in items} == {"recall", "rag", "rerank", "cite", "longqa", "summ"}
    for item in items:
        right = HELMET[item.id.rpartition("/")[0]][1]
        assert score(item, right).score > 0.4, item.id
        assert score(item, "nothing of the kind").score == 0, item.id
    assert next(item for item in items if item.category == "rerank").evidence == ("ID: b",)
    assert next(item for item in items if item.category == "rag").evidence == ("document 1",)


def test_helmet_says_which_fields_a_record_has_and_which_are_wrong(tmp_path):
    with pytest.raises(UsageError, match=r"record 1 of .*has the fields text, label"):
        list(read_helmet(written(tmp_path / "a.jsonl", [{"text": "t", "label": 1}])))
    with pytest.raises(UsageError, match=r"record 1 of .*field 'ctxs\[0\].text' is missing"):
        list(read_helmet(written(tmp_path / "b.jsonl", [{"question": "q", "answers": ["a"], "ctxs": [{}]}])))
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match="has no file"):
        list(read_helmet(str(tmp_path / "bare")))
