"""The fake answers by rule, always the same, under the protocol's own terms."""

import pytest

from mnemic.llm import LLM, BadReply, BudgetExhausted, FakeLLM, LLMError, Metered, Stopped


def by_length(call):
    return {"n": len(call.text)}


RULES = [
    ("^capital", "Paris"),
    (lambda call: call.tag == "count", by_length),
    ("empty", BudgetExhausted("empty")),
    ("learns", lambda call: {"ok": 1} if call.asked_again else "hm"),
    ("never", "hm"),
]


def test_the_first_rule_that_fits_answers(ask):
    fake: LLM = FakeLLM(RULES)
    assert ask(fake, "capital of France").text == "Paris"
    assert ask(fake, "12345", tag="count", response_schema={"type": "object"}).parsed == {"n": 5}
    with pytest.raises(BudgetExhausted):
        ask(fake, "empty")
    with pytest.raises(LLMError, match="no rule for a request that ends 'else'"):
        ask(fake, "else")


def test_it_is_asked_again_like_any_other(ask):
    fake = FakeLLM(RULES)
    assert ask(fake, "learns", response_schema={"required": ["ok"], "type": "object"}).parsed == {"ok": 1}
    assert [call.asked_again for call in fake.calls] == [0, 1]
    with pytest.raises(BadReply):
        ask(fake, "never", check=lambda text: "longer" if len(text) < 5 else None)
    assert fake.totals.requests == 5


def test_it_can_be_stopped(ask):
    fake: Metered = FakeLLM(RULES)
    fake.stop()
    with pytest.raises(Stopped):
        ask(fake, "capital")
    fake.go_on()
    assert ask(fake, "capital").text == "Paris"
