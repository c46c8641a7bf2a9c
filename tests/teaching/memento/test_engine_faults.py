"""Limits, leavers and faults: one request's trouble is not the others', and nobody is forgotten."""

from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest
import torch
from engines import QUESTIONS, Engines, Parts, ask, load_parts

from mnemic.errors import UsageError
from mnemic.teaching.memento.decoding import Prompt
from mnemic.teaching.memento.engine import EngineClosed, QueueFull
from mnemic.teaching.memento.engine_sequences import Event, Request, Sampling
from mnemic.teaching.memento.rules import MementoRules


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return load_parts(tmp_path_factory)


@pytest.fixture
def engine_of(parts: Parts) -> Iterator[Engines]:
    engines = Engines(parts)
    yield engines
    engines.close()


def test_lengths_are_kept(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of(MementoRules(keep_last_n_blocks=-1), kv_budget=60)
    _, short = ask(engine, parts.prompt("abc"), max_tokens=5)
    assert len(short.statistics().tokens) == 5
    assert short.ends[0].reason == "length"
    _, filled = ask(engine, parts.prompt("abc"))
    assert filled.statistics().peak_resident_tokens <= 60
    assert filled.ends[0].reason == "length"
    long = Prompt([65] * 399)
    endless = engine_of(kv_budget=5000)
    _, last = ask(endless, long, max_tokens=50)
    assert last.statistics().full_attention_tokens <= 400
    with pytest.raises(UsageError, match="the prompt has 400 tokens; this server takes at most 399"):
        ask(endless, Prompt([65] * 400))
    with pytest.raises(UsageError, match=r"n=40 .* 16 rows"):
        ask(endless, parts.prompt("abc"), n=40)


def test_the_queue_has_an_end_and_so_has_the_engine(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of(start=False, max_waiting=2)
    heard = [ask(engine, parts.prompt("abc"))[1] for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests are waiting"):
        ask(engine, parts.prompt("abc"))
    assert engine.load().waiting_requests == 2
    engine.start()
    engine.close()
    assert all(listener.done.wait(10) for listener in heard)
    with pytest.raises(EngineClosed):
        ask(engine, parts.prompt("abc"))


def test_a_cancelled_request_frees_what_it_held(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of(MementoRules(keep_last_n_blocks=-1), max_batch=2)
    requests = [ask(engine, parts.prompt(question), temperature=2.0) for question in QUESTIONS]
    assert requests[0][1].first.wait(30)
    for request, _ in requests[:-1]:
        engine.cancel(request)
    assert requests[-1][1].statistics().tokens
    assert all(not listener.ends for _, listener in requests[2:-1]), "a cancelled request went on"
    assert engine.load().resident_tokens == 0


def moody(forward: Any, poison: int, how: str) -> Any:
    """A model's forward pass, except that it fails, or answers nonsense, where it is fed one token."""

    @wraps(forward)
    def poisoned(*, input_ids: torch.Tensor, **given: Any) -> Any:
        hit, is_prompt = bool((input_ids == poison).any()), input_ids.shape[1] > 1
        if hit and is_prompt == (how != "step") and how != "nan":
            raise RuntimeError(f"poisoned {how}")
        out = forward(input_ids=input_ids, **given)
        if hit and is_prompt and how == "nan":
            out.logits[:] = float("nan")
        return out

    return poisoned


@pytest.mark.parametrize("how", ["prompt", "nan", "step"])
def test_one_bad_request_does_not_harm_the_others(
    parts: Parts, engine_of: Engines, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """`step`: a token that only one of them comes to say breaks the whole batch's step."""
    poison = parts.tokenizer.encode("€")[0] if how == "step" else 1
    monkeypatch.setattr(parts.model, "forward", moody(parts.model.forward, poison, how))
    engine = engine_of()
    good = [ask(engine, parts.prompt(question), max_tokens=60)[1] for question in QUESTIONS[:3]]
    bad_prompt = parts.prompt("abc") if how == "step" else Prompt([1, *parts.prompt("abc").ids])
    _, bad = ask(engine, bad_prompt)
    more = [ask(engine, parts.prompt(question), max_tokens=60)[1] for question in QUESTIONS[3:]]
    assert bad.done.wait(60)
    assert bad.failed is not None
    for question, listener in zip(QUESTIONS, good + more, strict=True):
        wanted = parts.alone(question, MementoRules(), tokens=60)
        assert list(listener.statistics().tokens) == wanted.sequences[0, wanted.prompts :].tolist()


def test_the_engine_outlives_a_fault_of_its_own(
    parts: Parts, engine_of: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of()
    keep = engine._rows.keep

    def breaks_once(indices: Any) -> None:
        if not engine._rows.active:
            return
        monkeypatch.setattr(engine._rows, "keep", keep)
        raise RuntimeError("a bug")

    monkeypatch.setattr(engine._rows, "keep", breaks_once)
    _, lost = ask(engine, parts.prompt("abc"))
    assert lost.done.wait(30)
    assert lost.failed == "the server failed: a bug"
    assert ask(engine, parts.prompt("abc"), max_tokens=3)[1].statistics().tokens
    assert engine.load().resident_tokens == 0


def test_a_listener_that_breaks_is_dropped(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of()

    def breaks(event: Event) -> None:
        raise OSError("gone")

    engine.submit(Request(parts.prompt("abc"), Sampling(temperature=0), breaks))
    assert ask(engine, parts.prompt("abc"))[1].statistics().tokens
