"""Recall methods as users write them."""

import pytest

from mnemic.comparing.methods import parse_method
from mnemic.errors import UsageError
from mnemic.llm import FakeLLM
from mnemic.storage.corpora import Corpus
from mnemic.storage.recall import METHODS
from mnemic.storage.recall.fact_filters import LLMFilter
from mnemic.storage.recall.memgas import MemGAS
from mnemic.storage.view import Passage

PASSAGES = (Passage("a", "Oslo is large."),)
PLAIN, WITH_FACTS = Corpus("plain", PASSAGES, ()), Corpus("facts", PASSAGES, (), ())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_catalogue_opens(name):
    spec = parse_method(name, "minilm")
    assert (spec.text, spec.name, spec.options, spec.encoder) == (name, name, {}, "minilm")
    assert spec.open(None).name == name


def test_options_have_the_types_of_the_class():
    spec = parse_method("memgas:router=uniform,damping=0.3,seeds=4,level=none,encoder=wordllama", "minilm")
    assert spec.encoder == "wordllama"
    assert spec.open(None) == MemGAS(router="uniform", damping=0.3, seeds=4, level=None)
    assert parse_method("hipporag2:filter=none").open(None).filter == "none"
    assert parse_method("hipporag:node-specificity=false").open(None).node_specificity is False


def test_methods_that_ask_a_language_model_say_so():
    spec = parse_method("hipporag2:filter=llm")
    assert spec.asks_llm
    assert isinstance(spec.open(FakeLLM([])).filter, LLMFilter)
    assert not parse_method("hipporag2").asks_llm
    assert parse_method("hipporag:extraction=llm").asks_llm


def test_what_a_method_reads_is_what_the_corpus_has():
    assert [parse_method(name).reads(PLAIN) for name in ("bm25", "memgas", "auto", "hipporag")] == [
        "none", "none", "rules", "rules",
    ]  # fmt: skip
    assert parse_method("hipporag").reads(WITH_FACTS) == parse_method("hipporag2").reads(WITH_FACTS) == "stored"
    assert parse_method("hipporag:extraction=rules").reads(WITH_FACTS) == "rules"
    assert parse_method("hipporag2:extraction=llm").reads(PLAIN) == "llm"
    with pytest.raises(UsageError, match="corpus 'plain' has none stored"):
        parse_method("hipporag2").reads(PLAIN)
    with pytest.raises(UsageError, match="extraction=rules, but dense reads no graph"):
        parse_method("dense:extraction=rules").reads(PLAIN)
    with pytest.raises(UsageError, match="extraction=stored, but rule-graph cannot walk on it; rules would do"):
        parse_method("rule-graph:extraction=stored").reads(WITH_FACTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule-grap", "unknown recall method 'rule-grap'; did you mean 'rule-graph'"),
        ("mamba2", "memory 'mamba2' stands inside a model"),
        ("bm25+dense", "'bm25+dense' are layers of a model that take turns; name recall methods one by one"),
        ("memgas:rooter=uniform", "recall method 'memgas': unknown option 'rooter'; did you mean 'router'"),
        ("memgas:router=unform", "recall method 'memgas': router=unform: must be 'inverse-entropy'"),
        ("memgas:temperature=0", "temperature is 0"),
        ("memgas:seeds=many", "seeds=many: must be a valid integer"),
        ("dense:encodr=minilm", "unknown option 'encodr'; did you mean 'encoder'"),
        ("dense:extraction=gpt", "extraction=gpt: must be 'auto', 'rules', 'stored' or 'llm'"),
        ("dense:minilm", "'minilm' in method 'dense:minilm' is not option=value"),
        ("hipporag2:filter=gpt", "filter=gpt: must be 'mention', 'none' or 'llm'"),
    ],
)
def test_wrong_use_is_named(text, message):
    with pytest.raises(UsageError) as wrong:
        parse_method(text)
    assert message in str(wrong.value)
