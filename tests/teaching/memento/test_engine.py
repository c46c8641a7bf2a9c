"""The engine: what it says is what generation alone says, whoever else is served, and nobody is forgotten."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from taught_checkpoint import ANSWER, THOUGHTS, make_checkpoint, written
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemic.errors import UsageError
from mnemic.teaching.memento.decoding import Prompt, RunningBatch
from mnemic.teaching.memento.engine import Engine, EngineClosed, QueueFull
from mnemic.teaching.memento.engine_sequences import Delta, Event, Failed, Finished, Request, Sampling, Statistics
from mnemic.teaching.memento.generation import memento_generate
from mnemic.teaching.memento.memento_file import read_memento_file
from mnemic.teaching.memento.rereading import read_on
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

QUESTIONS = ["abc", "hello", "what is 3+4?", "a much longer question, to be padded", "x", "xyz"]


@dataclass
class Parts:
    model: Any
    tokenizer: Any
    markers: MarkerIds

    def prompt(self, question: str) -> Prompt:
        messages = [{"role": "user", "content": question}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return Prompt(self.tokenizer.encode(text))

    def alone(self, question: str, rules: MementoRules, tokens: int = 150, **options: Any) -> Any:
        return memento_generate(
            self.model,
            torch.tensor([self.prompt(question).ids]),
            rules=rules,
            markers=self.markers,
            max_new_tokens=tokens,
            do_sample=False,
            **options,
        )


@dataclass
class Listener:
    """Hears the events of one request."""

    text: dict[int, dict[str, str]] = field(default_factory=dict)
    ends: dict[int, Finished] = field(default_factory=dict)
    failed: str | None = None
    count: int = 1
    done: threading.Event = field(default_factory=threading.Event)
    first: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Delta):
            said = self.text.setdefault(event.index, {"reasoning": "", "content": ""})
            said[event.piece.channel] += event.piece.text
            self.first.set()
        elif isinstance(event, Finished):
            self.ends[event.index] = event
            if len(self.ends) == self.count:
                self.done.set()
        else:
            assert isinstance(event, Failed)
            self.failed = event.message
            self.done.set()

    def statistics(self, index: int = 0) -> Statistics:
        assert self.done.wait(60)
        assert self.failed is None
        return self.ends[index].statistics


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = make_checkpoint(tmp_path_factory.mktemp("taught"))
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return Parts(model, AutoTokenizer.from_pretrained(folder), read_memento_file(folder).marker_ids)


@pytest.fixture
def engine_of(parts: Parts) -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(rules: MementoRules | None = None, *, start: bool = True, **options: Any) -> Engine:
        options = {"markers": parts.markers, "rules": rules, "end_ids": [parts.tokenizer.eos_token_id]} | options
        made.append(Engine(options.pop("model", parts.model), parts.tokenizer, **options))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def ask(engine: Engine, prompt: Prompt, **sampling: Any) -> tuple[Request, Listener]:
    heard = Listener(count=sampling.get("n", 1))
    request = Request(prompt, Sampling(**({"temperature": 0} | sampling)), heard)
    engine.submit(request)
    return request, heard


@pytest.mark.parametrize(
    "rules",
    [
        MementoRules(),
        MementoRules(mask_delimiters=True, max_block_tokens=4),
        MementoRules(keep_last_n_blocks=1),
        MementoRules(restart=True),
    ],
    ids=str,
)
def test_greedy_tokens_are_those_of_generate_alone_and_in_company(
    parts: Parts, engine_of: Callable[..., Engine], rules: MementoRules
) -> None:
    engine = engine_of(rules, max_batch=4)
    heard = [ask(engine, parts.prompt(question), max_tokens=150)[1] for question in QUESTIONS]
    for question, listener in zip(QUESTIONS, heard, strict=True):
        wanted = parts.alone(question, rules)
        got = listener.statistics()
        assert list(got.tokens) == wanted.sequences[0, wanted.prompts :].tolist(), question
        assert got.peak_resident_tokens == wanted.peak_tokens[0]
        assert list(got.kv_trace) == wanted.kv_trace[0]
        assert got.blocks == len(wanted.blocks[0])
        assert (got.malformed, got.forced_block_ends) == (wanted.malformed[0], wanted.forced_block_ends[0])
    assert engine.load().active_sequences == engine.load().resident_tokens == engine.load().allocated_bytes == 0


def test_it_was_taught_and_its_text_is_told_apart(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    engine = engine_of()
    _, split = ask(engine, parts.prompt("abc"))
    _, raw = ask(engine, parts.prompt("abc"), shown="raw")
    got = split.statistics()
    assert (split.text[0]["reasoning"], split.text[0]["content"].strip()) == (THOUGHTS, ANSWER)
    assert raw.statistics() == got
    assert raw.text[0] == {"reasoning": "", "content": written().removesuffix("<|im_end|>")}
    assert split.ends[0].reason == "stop"
    assert got.peak_resident_tokens < got.full_attention_tokens
    falls = [here - there for here, there in pairwise(got.kv_trace) if there < here]
    assert len(falls) == got.blocks == 8


@pytest.mark.parametrize("rules", [MementoRules(), MementoRules(restart=True)], ids=["memento", "restart"])
@pytest.mark.parametrize("budget", [150, 220])
def test_a_small_budget_delays_and_changes_nothing(
    parts: Parts, engine_of: Callable[..., Engine], rules: MementoRules, budget: int
) -> None:
    """Requests give up their caches and are read again; the budget holds, and everyone ends."""
    engine = engine_of(rules, kv_budget=budget)
    heard = [ask(engine, parts.prompt(question), max_tokens=150)[1] for question in QUESTIONS]
    for question, listener in zip(QUESTIONS, heard, strict=True):
        wanted = parts.alone(question, rules)
        assert list(listener.statistics().tokens) == wanted.sequences[0, wanted.prompts :].tolist(), question
        assert listener.statistics().peak_resident_tokens == wanted.peak_tokens[0]
    assert engine.load().peak_resident_tokens <= budget
    restarts = sum(listener.statistics().restarts for listener in heard)
    assert restarts == engine.load().restarts > 0


@pytest.mark.parametrize("rules", [MementoRules(), MementoRules(keep_last_n_blocks=1), MementoRules(restart=True)])
@pytest.mark.parametrize("count", [1, 9, 12, 30, 77])
def test_tokens_read_again_leave_the_cache_that_feeding_them_left(
    parts: Parts, rules: MementoRules, count: int
) -> None:
    prompt = parts.prompt("abc")
    tokens = parts.tokenizer.encode(written())[:count]
    batch, _ = RunningBatch.start(parts.model, [prompt], rules=rules, markers=parts.markers)
    wanted = [batch.feed([token]) for token in tokens][-1]
    again, _ = RunningBatch.start(parts.model, [prompt], rules=rules, markers=parts.markers)
    got = read_on(again, tokens)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert again.cache.resident.tolist() == batch.cache.resident.tolist()
    assert again.rows[0].tokens == batch.rows[0].tokens


def test_sampling_is_each_requests_own(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    """The same seed says the same alone, in company, and as one of n; another seed says something else."""
    engine, prompt = engine_of(), parts.prompt("abc")
    options = {"temperature": 3.0, "top_p": 0.95, "max_tokens": 40}
    _, alone = ask(engine, prompt, seed=7, **options)
    wanted = alone.statistics().tokens
    heard = [ask(engine, parts.prompt(question), temperature=1.0, max_tokens=40)[1] for question in QUESTIONS[:3]]
    _, company = ask(engine, prompt, seed=7, **options)
    _, three = ask(engine, prompt, seed=6, n=3, **options)
    _, other = ask(engine, prompt, seed=11, **options)
    assert company.statistics().tokens == wanted
    assert three.statistics(1).tokens == wanted
    assert len({three.statistics(index).tokens for index in range(3)}) == 3
    assert other.statistics().tokens != wanted
    assert all(listener.statistics().tokens for listener in heard)


def test_top_p_and_top_k_keep_the_likely_ones(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    engine, prompt = engine_of(), parts.prompt("abc")
    greedy = ask(engine, prompt, max_tokens=30)[1].statistics().tokens
    for options in ({"top_k": 1}, {"top_p": 1e-6}):
        assert ask(engine, prompt, max_tokens=30, temperature=5.0, **options)[1].statistics().tokens == greedy


def test_stop_strings_end_a_text_before_them(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    engine = engine_of()
    _, answer = ask(engine, parts.prompt("abc"), stop=("€u",))
    _, thought = ask(engine, parts.prompt("abc"), stop=("2abc", "nothing"))
    _, never = ask(engine, parts.prompt("abc"), stop=("ro 🙂.!",))
    for heard in (answer, thought, never):
        heard.statistics()
        assert heard.ends[0].reason == "stop"
    assert answer.text[0]["content"].strip() == ANSWER.partition("€u")[0].strip()
    assert thought.text[0] == {"reasoning": THOUGHTS.partition("2abc")[0], "content": ""}
    assert never.text[0]["content"].strip() == ANSWER


def test_lengths_are_kept(parts: Parts, engine_of: Callable[..., Engine]) -> None:
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


def test_the_queue_has_an_end_and_so_has_the_engine(parts: Parts, engine_of: Callable[..., Engine]) -> None:
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


def test_a_cancelled_request_frees_what_it_held(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    engine = engine_of(MementoRules(keep_last_n_blocks=-1), max_batch=2)
    requests = [ask(engine, parts.prompt(question), temperature=2.0) for question in QUESTIONS]
    assert requests[0][1].first.wait(30)
    for request, _ in requests[:-1]:
        engine.cancel(request)
    assert requests[-1][1].statistics().tokens
    assert all(not listener.ends for _, listener in requests[2:-1]), "a cancelled request went on"
    assert engine.load().resident_tokens == 0


class Moody(torch.nn.Module):
    """The model, except that it fails, or answers nonsense, for a prompt that holds one token."""

    def __init__(self, model: Any, poison: int, how: str) -> None:
        super().__init__()
        self.inner, self.poison, self.how, self.poisoned = model, poison, how, False

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)

    def forward(self, input_ids: torch.Tensor, **given: Any) -> Any:
        is_prompt = input_ids.shape[1] > 1
        hit = bool((input_ids == self.poison).any())
        if self.how == "prompt" and is_prompt and hit:
            raise RuntimeError("poisoned prompt")
        if self.how == "step" and not is_prompt and hit:
            raise RuntimeError("poisoned step")
        out = self.inner(input_ids=input_ids, **given)
        if self.how == "nan" and is_prompt and hit:
            out.logits[:] = float("nan")
        return out


@pytest.mark.parametrize("how", ["prompt", "nan", "step"])
def test_one_bad_request_does_not_harm_the_others(parts: Parts, engine_of: Callable[..., Engine], how: str) -> None:
    """`step`: a token that only one of them comes to say breaks the whole batch's step."""
    poison = parts.tokenizer.encode("€")[0] if how == "step" else 1
    engine = engine_of(model=Moody(parts.model, poison, how))
    good = [ask(engine, parts.prompt(question), max_tokens=60)[1] for question in QUESTIONS[:3]]
    bad_prompt = parts.prompt("abc") if how == "step" else Prompt([1, *parts.prompt("abc").ids])
    _, bad = ask(engine, bad_prompt)
    more = [ask(engine, parts.prompt(question), max_tokens=60)[1] for question in QUESTIONS[3:]]
    assert bad.done.wait(60)
    assert bad.failed is not None
    for question, listener in zip(QUESTIONS, good + more, strict=True):
        wanted = parts.alone(question, MementoRules(), tokens=60)
        assert list(listener.statistics().tokens) == wanted.sequences[0, wanted.prompts :].tolist()


def test_a_listener_that_breaks_is_dropped(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    engine = engine_of()

    def breaks(event: Event) -> None:
        raise OSError("gone")

    engine.submit(Request(parts.prompt("abc"), Sampling(temperature=0), breaks))
    assert ask(engine, parts.prompt("abc"))[1].statistics().tokens


def test_without_markers_nothing_is_evicted(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    engine = engine_of(markers=None)
    got = ask(engine, parts.prompt("abc"), max_tokens=60)[1].statistics()
    wanted = parts.alone("abc", MementoRules(keep_last_n_blocks=-1), tokens=60)
    assert list(got.tokens) == wanted.sequences[0, wanted.prompts :].tolist()
    assert got.peak_resident_tokens == got.full_attention_tokens
    assert got.blocks == 0


def test_markers_can_be_kept_in_order(parts: Parts, engine_of: Callable[..., Engine]) -> None:
    engine = engine_of()
    free = ask(engine, parts.prompt("abc"), temperature=9.0, seed=1, max_tokens=120)[1].statistics()
    kept = ask(engine, parts.prompt("abc"), temperature=9.0, seed=1, max_tokens=120, well_formed=True)[1].statistics()
    assert free.malformed > 0
    assert kept.malformed == 0
