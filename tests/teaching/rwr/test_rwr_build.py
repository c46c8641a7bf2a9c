"""A build keeps what is right, counts what is not, and pays for nothing twice."""

import json
import subprocess
import sys

import pytest

from mnemic.llm import BudgetExhausted, FakeLLM
from mnemic.teaching.pipeline import BuildStopped
from mnemic.teaching.records import RECALL, RecallRecord, read_jsonl
from mnemic.teaching.rwr.build import build_recall
from mnemic.teaching.rwr.canon import EMPTY, UNANSWERABLE
from mnemic.teaching.rwr.examples import Example, examples_of
from mnemic.teaching.rwr.histories import HistoryRules, histories
from mnemic.teaching.rwr.options import MixtureRules, RecallOptions
from mnemic.teaching.rwr.oracle import OracleTeacher
from mnemic.teaching.rwr.summaries import NOTE_TAG
from mnemic.teaching.rwr.verification import VERIFY_TAG, holds
from mnemic.teaching.validation import validate

OTHER = Example(id="other", context="Nobody came by.\nThe ferry was late again today.", query="Q?", answer="ferry")


def example(name="a", context="The code is 4417.\nIt rains.\nThe bus is late.", answer="4417", **more):
    return Example(id=name, context=context, query=f"Which code has {name}?", answer=answer, **more)


def built(tmp_path, examples, llm, options=None, mixture=None, **more):
    options, examples = RecallOptions(**(options or {})), list(examples)
    return build_recall(lambda: examples, tmp_path, llm, options=options, mixture=mixture, workers=2, **more)


def noting(*answers):
    """A teacher that notes these words where the context has them."""

    def note(call):
        found = [answer for answer in answers if holds(call.messages[1]["content"].partition("<query")[0], answer)]
        return {"summary": f"it says {' and '.join(found)}" if found else "Empty."}

    return FakeLLM([(lambda call: call.tag == NOTE_TAG, note), (lambda call: call.tag == VERIFY_TAG, {"holds": False})])


def rows(folder):
    return {record.id: record for record in read_jsonl(folder / "recall.jsonl", RecallRecord)}


def made(folder):
    """All rows that could be made, whether the mixture takes them or not."""
    items = map(json.loads, (folder / "examples.jsonl").read_text().splitlines())
    return {row["id"]: RecallRecord.model_validate(row) for item in items for row in item["records"]}


@pytest.fixture(scope="module")
def known():
    return list(histories(HistoryRules(count=8, tokens=400)))


@pytest.mark.parametrize("method", ["string", "llm"])
def test_histories_by_the_oracle(tmp_path, known, method):
    build = built(tmp_path, examples_of(known), OracleTeacher(known), {"method": method}, MixtureRules())
    assert build.manifest.counts["ok"] == build.made["plain"] == 40
    assert build.made["valid"] == 32
    # by its words alone, what an update replaced is left, and two answers in one are not found
    left_out = {"evidence_left": 8, "answer_not_in_context": 8} if method == "string" else {}
    assert build.left_out == left_out
    assert build.made["empty"] == 40 - 2 * len(left_out) * 4
    assert build.report.is_valid
    assert build.report.kinds == {"empty": 12, "plain": 40, "valid": 28}
    contexts = {example.id: example for example in examples_of(known)}
    for record in rows(tmp_path).values():
        source = contexts[record.id.partition("/")[0]]
        if record.kind == "empty":
            assert (record.summary, record.answer) == (EMPTY, UNANSWERABLE)
            assert len(record.context.split()) == len(source.context.split())
            assert not holds(record.context, source.answer)
        else:
            assert (record.context, record.answer) == (source.context, source.answer)
    assert json.loads((tmp_path / "report.json").read_text())["taken"] == build.report.kinds


def test_a_teacher_whose_notes_lack_the_answer(tmp_path):
    build = built(tmp_path, [example("a"), example("b"), OTHER], noting("It rains", "ferry"), {"replacement": "drop"})
    assert build.left_out == {"answer_not_in_note": 2}
    assert build.made == {"valid": 1, "empty": 1, "plain": 3}
    assert set(made(tmp_path)) == {"a/plain", "b/plain", "other/plain", "other/valid", "other/empty"}
    assert build.report.dropped == {"answer_not_in_note": 2}


@pytest.mark.parametrize(
    ("given", "options", "reason"),
    [
        (example(context="The code is 4417 " * 50), {"max_length": 20}, "too_long"),
        (example(error="no_answer: the answer is blank"), {}, "no_answer"),
    ],
)
def test_examples_that_are_dropped(tmp_path, given, options, reason):
    build = built(tmp_path, [given, OTHER], noting("4417", "ferry"), options | {"replacement": "drop"})
    assert dict(build.manifest.dropped) == {reason: 1}
    assert build.report.dropped == {reason: 1}
    assert {name.partition("/")[0] for name in made(tmp_path)} == {"other"}


@pytest.mark.parametrize(
    ("given", "teacher", "options", "kind", "reason"),
    [
        (example(), noting("nothing of it"), {}, "valid", "note_empty"),
        (example(), noting("4417"), {"max_note_tokens": 2}, "valid", "note_too_long"),
        (example(context=" "), noting("4417"), {}, "valid", "no_context"),
        (example(answer=UNANSWERABLE), noting("4417"), {}, "valid", "note_not_empty"),
        (example(context="4417 a\n4417 b\nc"), noting("4417"), {}, "empty", "answer_everywhere"),
        (example(), noting("4417", "It rains"), {}, "empty", "evidence_left"),
        (example(), noting("4417"), {"distractor_contexts": 1}, "empty", "no_distractor"),
    ],
)
def test_rows_that_are_left_out(tmp_path, given, teacher, options, kind, reason):
    build = built(tmp_path, [given, OTHER], teacher, options)
    lines = (tmp_path / "recall.rejected.jsonl").read_text().splitlines()
    found = {row["id"]: row["reason"].partition(":")[0] for row in map(json.loads, lines)}
    assert found[f"a/{kind}"] == reason
    assert build.left_out[reason] >= 1


def test_what_has_no_answer_is_an_empty_row_of_its_own(tmp_path):
    built(tmp_path, [example(answer="Unanswerable.", context="It rains.")], noting("4417"), mixture=MixtureRules(
        empty_ratio=1, plain_ratio=0.5))  # fmt: skip
    assert {record.kind: record.answer for record in made(tmp_path).values()} == {
        "empty": UNANSWERABLE,
        "plain": UNANSWERABLE,
    }


def test_aliases_count_and_a_verifier_may_be_another(tmp_path):
    given = [example("a", answer="four four", aliases=("4417",)), example("b", answer="forty-four seventeen"), OTHER]
    verifier = FakeLLM([(".", {"holds": True})], model="judge")
    build = built(tmp_path, given, noting("4417", "ferry"), verifier=verifier)
    methods = {name: record.verified.method for name, record in made(tmp_path).items() if record.kind == "valid"}
    assert methods == {"a/valid": "contains", "b/valid": "llm", "other/valid": "contains"}
    assert build.manifest.config["verifier"] == "judge"
    assert len(verifier.calls) == 1


def test_without_a_verifier_only_words_count(tmp_path):
    llm = noting("4417", "ferry")
    build = built(tmp_path, [example(answer="forty-four seventeen"), OTHER], llm, {"verify": False})
    assert build.left_out["answer_not_in_note"] == 1
    assert VERIFY_TAG not in {call.tag for call in llm.calls}


def test_another_mixture_asks_nothing(tmp_path, known):
    built(tmp_path, examples_of(known), OracleTeacher(known))
    again = OracleTeacher(known)
    build = built(tmp_path, examples_of(known), again, mixture=MixtureRules(empty_ratio=0, plain_ratio=0))
    assert again.calls == []
    assert build.report.kinds == {"valid": 32}


def test_a_build_that_ran_out_of_money_goes_on(tmp_path, known):
    whole = built(tmp_path / "whole", examples_of(known), OracleTeacher(known))
    poor, teacher = FakeLLM([], "oracle"), OracleTeacher(known)
    poor.rules = [(lambda call: len(poor.calls) > 30, BudgetExhausted("that was all")), (".", teacher.answer)]
    with pytest.raises(BuildStopped, match="that was all"):
        built(tmp_path / "poor", examples_of(known), poor)
    assert not (tmp_path / "poor/recall.jsonl").exists()
    rest = OracleTeacher(known)
    assert built(tmp_path / "poor", examples_of(known), rest).summary()["made"] == whole.made
    assert (tmp_path / "poor/recall.jsonl").read_bytes() == (tmp_path / "whole/recall.jsonl").read_bytes()
    assert len(rest.calls) < whole.manifest.counts["ok"] * 2


def test_validation_finds_what_does_not_hold(tmp_path, known):
    built(tmp_path, examples_of(known), OracleTeacher(known))
    path = tmp_path / "recall.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    note = next(row for row in lines if row["summary"] == EMPTY)
    note["summary"] = "nothing"
    valid = next(row for row in lines if row["summary"] and not row["empty"])
    valid["verified"]["ok"] = False
    lines.append(lines[0])
    path.write_text("".join(json.dumps(row) + "\n" for row in lines) + "{}\n")
    report = validate(path, schema=RECALL)
    assert report.problems["unverified"] == 1
    assert report.problems["empty_note"] == 1
    assert report.problems["duplicate_id"] + report.problems["bad_field"] >= 2
    assert validate(path).problems


def test_building_needs_no_torch():
    modules = "mnemic.teaching.rwr.build, mnemic.teaching.rwr.oracle, mnemic.teaching.rwr.layout"
    code = f"import sys, {modules}; print(*{{'torch', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
