"""A trial through real stores recalls what the method recalls in memory, and counts what it cost."""

import pytest
from hashing_encoder import HashingEncoder
from small_corpora import write_chat, write_corpus

from mnemic.comparing.methods import parse_method
from mnemic.comparing.recall_record import measured
from mnemic.comparing.timed_encoder import TimedEncoder
from mnemic.comparing.trial import run_trial
from mnemic.errors import MnemicError
from mnemic.intervals import mean_interval
from mnemic.llm import FakeLLM, LLMError
from mnemic.storage.corpora import Corpus, Question
from mnemic.storage.corpora.sources import parse_source
from mnemic.storage.evaluating import evaluate
from mnemic.storage.view import Passage


@pytest.fixture
def corpus(tmp_path):
    return parse_source(f"corpus:{write_corpus(tmp_path / 'wiki')}").open()


@pytest.fixture
def chat(tmp_path):
    return parse_source(f"conversation:{write_chat(tmp_path / 'chat.jsonl')}").open()


def trial(text, corpora, client=None):
    return run_trial(parse_method(text), corpora, TimedEncoder(HashingEncoder(dim=64)), client)


@pytest.mark.parametrize("text", ["bm25", "dense", "hybrid", "auto", "rule-graph", "hipporag:extraction=rules"])
def test_the_store_recalls_what_the_method_recalls_in_memory(corpus, text):
    spec, encoder = parse_method(text), HashingEncoder(dim=64)
    extraction = {"none": "none", "rules": "rules"}[spec.reads(corpus[0])]
    in_memory = evaluate(spec.open(None), [(corpus[0], corpus[0].view(encoder, extraction=extraction))])
    found = trial(text, corpus).evaluation
    assert [one.values for one in found.asked] == [one.values for one in in_memory.asked]


@pytest.mark.parametrize("text", ["hybrid", "best-turn", "memgas:router=uniform"])
def test_sessions_of_a_conversation_are_ranked_as_in_memory(chat, text):
    in_memory = evaluate(parse_method(text).open(None), [(chat[0], chat[0].view(HashingEncoder(dim=64)))])
    found = trial(text, chat).evaluation
    assert [one.values for one in found.asked] == [one.values for one in in_memory.asked]
    assert {"recall@5", "turn_recall@5", "unanswerable_recall@5"} <= set(found.metrics)


def test_what_is_measured_is_of_this_trial(corpus):
    found = trial("rule-graph", corpus)
    assert found.passages == len(corpus[0].passages)
    assert found.bytes > sum(len(p.text) for p in corpus[0].passages)
    assert len(found.write_seconds) == len(corpus[0].passages) // 10
    assert len(found.evaluation.asked) == len(corpus[0].asked) == 16
    record = measured(found)
    values = found.evaluation.values("recall@5")
    assert record["scores"] == values
    interval = mean_interval(values)
    assert (record["metrics"]["recall@5"], record["metrics"]["recall@5_low"]) == (interval.mean, interval.low)
    assert [(p["value"], p["count"]) for p in record["slices"]["kind"]] == [("1", 8), ("2", 8)]
    assert record["cost"]["read_seconds"] <= record["cost"]["read_seconds_p95"]
    assert record["cost"]["llm_calls"] == 0
    assert record["cost"]["bytes_per_passage"] == found.bytes / found.passages


def test_stored_facts_are_what_is_walked_on(corpus):
    found = trial("hipporag2:filter=none", corpus)
    assert found.fallbacks == 0
    assert trial("hipporag2", corpus).fallbacks < len(found.evaluation.asked)


def test_long_passages_come_back_as_one_and_blank_ones_are_told(tmp_path):
    text = "An opening line about Oslo. " + "The harbour is large and old. " * 150
    passages = (Passage("long", text, "Oslo"), Passage("blank", "  "), Passage("other", "Rome has hills.", "Rome"))
    asked = (Question("q", "How large is the harbour of Oslo?", "", frozenset({"long"})),)
    found = trial("dense", [Corpus("c", passages, asked)])
    assert (found.passages, found.blank) == (2, 1)
    assert found.evaluation.values("recall@1") == [1]
    assert measured(found)["cost"]["passages_without_text"] == 1


def test_a_passage_that_cannot_be_kept_is_named():
    broken = Corpus("c", (Passage("bad", "a\0b"),), (Question("q", "?", "", frozenset({"bad"})),))
    with pytest.raises(MnemicError, match=r"passage 'bad' of 'c' was not kept: .*NUL"):
        trial("bm25", [broken])


class Unreachable(LLMError):
    transient = True


def test_a_language_model_is_counted_and_one_that_is_gone_is_no_result(corpus):
    client = FakeLLM([("", {"helpful": [1]})])
    found = trial("hipporag2:filter=llm", corpus, client)
    assert found.llm.requests >= len(found.evaluation.asked)
    assert measured(found)["cost"]["llm_calls"] == found.llm.requests
    assert measured(found)["cost"]["llm_prompt_tokens"] > 0

    with pytest.raises(MnemicError, match="question 'q0': the language model could not be asked: no route"):
        trial("hipporag2:filter=llm", corpus, FakeLLM([("", Unreachable("no route"))]))


def test_vectors_are_made_once_and_their_time_is_still_counted():
    inner = HashingEncoder(dim=8)
    encoder = TimedEncoder(inner)
    first = encoder.encode(["a b", "c", "a b"])
    assert encoder.settle() == 0
    again = encoder.encode(["c", "a b"])
    assert (again == first[[1, 0]]).all()
    assert encoder.settle() > 0
    assert encoder.settle() == 0
    assert encoder.encode([]).shape == (0, 8)


def test_a_question_is_embedded_once_until_it_is_to_be_timed_again():
    class Counting(HashingEncoder):
        made = 0

        def encode(self, texts):
            self.made += 1
            return super().encode(texts)

    inner = Counting(dim=8)
    encoder = TimedEncoder(inner).untimed()
    assert (encoder.encode(["a"]) == encoder.encode(["a"])).all()
    assert inner.made == 1
    assert (encoder.encode(["b"]) == inner.encode(["b"])).all()
    encoder.forget()
    encoder.encode(["b"])
    assert inner.made == 4
