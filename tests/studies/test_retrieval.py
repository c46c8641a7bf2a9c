"""The studies `hipporag`, `hipporag2` and `memgas`: each claim has its own numbers, and each study a smoke case."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hashing_encoder import HashingEncoder
from recall_data import locomo_folder, musique_folder

from mnemic.catalogue import STUDIES, resolve
from mnemic.cli import cli
from mnemic.errors import UsageError
from mnemic.llm import FakeLLM
from mnemic.report.records import read_records
from mnemic.storage.evaluating import Asked, Evaluation
from mnemic.storage.view import Query
from mnemic.studies import hipporag, hipporag2, memgas, retrieval
from mnemic.studies.musique_worlds import musique_worlds
from mnemic.studies.retrieval_data import Data, locomo, musique
from mnemic.studies.retrieval_results import Found

MODULES = {"hipporag": hipporag, "hipporag2": hipporag2, "memgas": memgas}
METRICS = [f"{name}@{k}" for name in ("recall", "all", "ndcg", "turn_recall") for k in (1, 2, 3, 5, 10)]


@pytest.fixture(autouse=True)
def _quick_encoders(monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "_encoder", HashingEncoder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    locomo_folder(tmp_path / "data")
    return musique_folder(tmp_path / "data")


def found(module, questions: int, **values) -> Found:
    """Every arm at 0.5, but those that are named: a value for every metric, or a value by metric or kind."""

    class Questions(Data):
        questions = 0

    Questions.questions = questions
    asked = {}
    for key in module.ARMS:
        value = values.get(key.replace(" ", "_"), 0.5)
        each = [
            Asked(f"{kind}{n}", kind, {m: _of(value, m, kind) for m in METRICS}, 0.001)
            for kind in ("2", "3")
            for n in range(4)
        ]
        asked[key] = Evaluation(module.ARMS[key].method, each)
    return Found(module.ARMS, asked, Questions("corpus:made-up", (), "0"), 1)


def _of(value, metric: str, kind: str) -> float:
    return value.get(kind, value.get(metric, 0.5)) if isinstance(value, dict) else value


def held(module, questions: int = 100, **values) -> list[bool]:
    return [claim.holds for claim in module.claims(found(module, questions, **values))]


GOOD = {
    "hipporag": {"walk": 0.6, "linked": 0.4},
    "hipporag2": {
        "rules": 0.6,
        "mention": {"recall@2": 0.6, "recall@5": 0.6},
        "none": {"recall@2": 0.5, "recall@10": 0.6},
        "oracle": 0.7,
    },
    "memgas": {"memgas": 0.6, "sum": 0.65, "best_turn_+_summary": 0.7, "bm25": 0.7},
}


@pytest.mark.parametrize(("name", "count"), [("hipporag", 4), ("hipporag2", 5), ("memgas", 8)])
def test_all_claims_hold_for_numbers_that_meet_every_threshold(name: str, count: int) -> None:
    assert held(MODULES[name], **GOOD[name]) == [True] * count


@pytest.mark.parametrize(
    ("name", "questions", "changes", "which"),
    [
        ("hipporag", 100, {"walk": {"recall@2": 0.52, "recall@5": 0.6}}, {0}),
        ("hipporag", 100, {"walk": {"recall@2": 0.6, "recall@5": 0.52}}, {1}),
        ("hipporag", 50, {"walk": {"recall@2": 0.5, "recall@5": 0.5}}, set()),
        ("hipporag", 50, {"walk": {"recall@2": 0.5, "recall@5": 0.49}, "linked": 0.3}, {1}),
        ("hipporag", 100, {"linked": 0.51}, {2}),
        ("hipporag", 100, {"walk": {"2": 0.7, "3": 0.6}}, {3}),
        ("hipporag2", 100, {"rules": 0.559}, {0}),
        ("hipporag2", 50, {"rules": 0.541}, set()),
        ("hipporag2", 100, {"mention": {"recall@2": 0.6, "recall@5": 0.549}, "unseeded": 0.4}, {1}),
        ("hipporag2", 50, {"mention": {"recall@2": 0.6, "recall@5": 0.54}, "unseeded": 0.4}, set()),
        ("hipporag2", 100, {"unseeded": 0.56}, {2}),
        ("hipporag2", 100, {"none": {"recall@2": 0.5, "recall@10": 0.53}}, {3}),
        ("hipporag2", 100, {"oracle": {"recall@2": 0.59}}, {4}),
        ("hipporag2", 100, {"none": {"recall@2": 0.61, "recall@10": 0.6}}, {4}),
        ("memgas", 100, {"turn": 0.61}, {1}),
        ("memgas", 100, {"keyword": 0.61}, {3}),
        ("memgas", 100, {"session_cut": 0.56}, {4}),
        ("memgas", 100, {"session": 0.56}, {5}),
        ("memgas", 100, {"best_turn_+_summary": 0.64}, {6}),
        ("memgas", 100, {"bm25": 0.64}, {7}),
    ],
)
def test_each_number_breaks_its_own_claim_and_no_other(name: str, questions: int, changes: dict, which: set) -> None:
    verdicts = held(MODULES[name], questions, **{**GOOD[name], **changes})
    assert {number for number, holds in enumerate(verdicts) if not holds} == which


@pytest.mark.parametrize("name", MODULES)
def test_a_study_runs_through_and_does_not_ask_again(name: str, folder: Path, tmp_path: Path, monkeypatch) -> None:
    said = []
    study, arms = resolve(STUDIES[name].target), MODULES[name].ARMS
    first = study("laptop", 1, tmp_path / "run", said.append, data=folder)
    assert [event.done for event in said if "embedded" not in event.what] == list(range(1, len(arms) + 1))
    assert any("texts embedded by minilm" in event.what for event in said)
    assert len(first.records) == len(arms) == len({record.run for record in first.records})
    assert all(0 <= record.metrics["recall@5"] <= 1 for record in first.records)
    assert [row[0] for sheet in first.sheets for row in sheet.rows]
    assert read_records(tmp_path / "run/results.jsonl") == list(first.records)

    def asked_again(*_):
        raise AssertionError("what is kept was asked again")

    monkeypatch.setattr(retrieval, "evaluate", asked_again)
    again = study("laptop", 1, tmp_path / "run", data=folder)
    assert again.claims == first.claims
    assert len((tmp_path / "run/results.jsonl").read_text().splitlines()) == len(arms)


def test_what_is_known_of_the_made_up_corpus_is_found(folder: Path, tmp_path: Path) -> None:
    result = resolve(STUDIES["hipporag2"].target)("laptop", 1, tmp_path / "run", data=folder)
    recall = {record.memory: record.metrics["recall@3"] for record in result.records}
    assert recall["rule graph, no facts"] == 1.0  # nothing else is tied to a film
    assert recall["HippoRAG 2, mention filter"] > recall["dense"]


def test_the_filter_that_knows_keeps_what_the_evidence_states_and_nothing_else(folder: Path) -> None:
    data = musique(folder)
    [(corpus, view)] = musique_worlds(data)["triples"](HashingEncoder())
    knowing = hipporag2.evidence_filter(corpus, view)
    facts = [
        ("blue harbour", "directed by", "anna petrova"),
        ("night ferry", "directed by", "karl brandt"),
        ("anna petrova", "born in", "tallinn"),
        ("tallinn", "lies in", "estonia"),
    ]
    assert knowing.kept("In which town was the director of Blue Harbour born?", facts) == [0, 2]
    assert knowing.kept("In which land was the director of Blue Harbour born?", facts) == [0, 2, 3]
    assert knowing.kept("Who is it?", facts) == []


@pytest.mark.parametrize("name", ["hipporag", "hipporag2"])
def test_a_language_model_indexes_a_corpus(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / "musique/openie_made_up.json").unlink()
    stated = {
        "Blue Harbour was directed": {"subject": "Blue Harbour", "predicate": "directed by", "object": "Anna Petrova"},
        "Anna Petrova was born": {"subject": "Anna Petrova", "predicate": "born in", "object": "Tallinn"},
    }
    client = FakeLLM(
        [
            ("Night Ferry was", "nonsense"),
            *((text, lambda call, fact=fact: _replied(call, fact)) for text, fact in stated.items()),
            ("", lambda call: _replied(call, None)),
        ]
    )
    run = resolve(STUDIES[name].target)
    result = run("gpu", 1, tmp_path / "run", data=folder / "musique", client=client)
    assert not result.claims[0].holds  # of one passage the model made nonsense
    costs = dict(result.sheets[0].rows)
    assert costs["passages"] == "18"
    assert costs["without a usable answer"] == "1"
    assert costs["phrases and facts"].endswith("and 2")
    assert len(result.records) == len(result.sheets[1].rows)
    with pytest.raises(UsageError, match="--teacher URL --model NAME"):
        run("gpu", 1, tmp_path / "other", data=folder / "musique")


def _replied(call, fact: dict[str, str] | None) -> dict:
    if call.tag == "passage facts":
        return {"facts": [fact] if fact else []}
    return {"helpful": [1]} if call.tag == "fact filter" else {"entities": ["Blue Harbour"]}


def test_longest_phrases_of_a_question(folder: Path) -> None:
    data = musique(folder)
    [(corpus, view)] = musique_worlds(data)["triples"](HashingEncoder())
    named = hipporag.longest_phrases(corpus, view)
    assert named("Was Anna Petrova of Blue Harbour seen in Tallinn?") == ["anna petrova", "blue harbour", "tallinn"]
    assert named("was anna there") == []


def test_linked_phrases_alone_score_the_facts_that_hold_them(folder: Path) -> None:
    data = musique(folder)
    worlds = musique_worlds(data)
    seen = worlds["triples, no synonyms"](HashingEncoder())
    hits = hipporag.ARMS["linked"].opened(seen).recall(seen[0][1], Query("Who directed Blue Harbour?"), 3)
    assert [hit.score > 0 for hit in hits] == [True, False, False]


def test_all_recall_is_over_questions_with_and_without_an_answer() -> None:
    asked = Evaluation("m", [Asked("a", "1", {"recall@5": 1.0}, 0), Asked("b", "5", {"unanswerable_recall@5": 0.0}, 0)])
    both = Found({}, {"m": asked}, Data("conversation:x", (), "0"), 1)
    assert both.mean("m", "recall@5") == 1.0
    assert both.mean("m", "all recall@5") == 0.5


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (("corpus", "questions"), "no stored triples"),
        (("corpus", "openie_made_up"), "no questions"),
        (("questions",), "no passages"),
    ],
)
def test_data_that_lack_something(folder: Path, kept: tuple[str, ...], said: str) -> None:
    for path in (folder / "musique").iterdir():
        if path.stem not in kept:
            path.unlink()
    with pytest.raises(UsageError, match=said):
        musique(folder)


def test_data_are_found_by_themselves_or_in_their_folder(folder: Path, tmp_path: Path) -> None:
    assert musique(folder) == musique(folder / "musique")
    whole = locomo(folder)
    assert whole == locomo(folder / "locomo") == locomo(folder / "locomo/conversations.json")
    assert whole.questions == 16
    with pytest.raises(UsageError, match="has no conversations; it must be a file of conversations"):
        locomo(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hipporag"], "needs --data PATH (or MNEMIC_DATA): a folder with MuSiQue's questions.json"),
        (["memgas", "--data", "nowhere"], "--data 'nowhere' does not exist; it must be a file of conversations"),
        (["memento", "--data", "."], "study 'memento' makes its own data; leave --data out"),
        (["zoology", "--data", "nowhere"], "--data 'nowhere' does not exist; it must be a text"),
        (["memento", "--vectors", "v.db"], "study 'memento' makes its own data; leave --vectors out"),
        (["zoology", "--vectors", "v.db"], "study 'zoology' has no use for --vectors; leave it out"),
        (["hipporag2", "--data", "data", "--search"], "trains nothing"),
        (["hipporag2", "--data", "data", "--jobs", "2"], "leave --jobs out"),
        (["hipporag2", "--data", "data", "--seed", "7000"], "seed 7000"),
    ],
)
def test_wrong_use_is_said(folder: Path, tmp_path: Path, monkeypatch, arguments: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNEMIC_DATA", raising=False)
    done = CliRunner().invoke(cli, ["reproduce", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr


def test_from_the_command_line(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNEMIC_DATA", str(folder))
    done = CliRunner().invoke(cli, ["reproduce", "hipporag2", "--json", "--output", "run"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert [claim["text"][0] for claim in shown["claims"]] == [*"ABCDE"]
    assert shown["tables"][0]["head"][0] == "arm"
    assert (tmp_path / "run/report.html").exists()
    refused = CliRunner().invoke(cli, ["reproduce", "hipporag2", "--output", "run"])
    assert "--resume" in refused.stderr
