"""Scheduler and runner together, against the definition: what each token finds in its cache."""

from types import SimpleNamespace as Bag
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnemic_vllm import evicting_scheduler
from mnemic_vllm.evicting_runner import EvictingRunner
from mnemic_vllm.evicting_scheduler import EvictingScheduler
from mnemic_vllm.settings import KEY, SPANS_KEY, assistant_spans
from vllm_double import Request, Runner, Scheduler

from mnemic.errors import UsageError
from mnemic.teaching.memento.blocks import visible_until
from mnemic.teaching.memento.restart import expand_for_restart
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role

MARKERS = MarkerIds(1, 2, 3, 4)
BLOCK = st.tuples(st.integers(0, 6), st.integers(0, 3)).map(lambda s: [1, *[9] * s[0], 2, 3, *[8] * s[1], 4])
TEXT = st.lists(st.sampled_from([7, 8, 9]), max_size=4)
WRITTEN = st.lists(st.one_of(BLOCK, TEXT, st.lists(st.integers(1, 6), max_size=4)), max_size=5).map(
    lambda parts: [token for part in parts for token in part]
)
RULES = st.sampled_from(
    [
        MementoRules(),
        MementoRules(mask_delimiters=True),
        MementoRules(keep_last_n_blocks=1),
        MementoRules(keep_last_block_for_answer=True),
        MementoRules(keep_last_n_blocks=-1),
        MementoRules(restart=True),
        MementoRules(restart=True, mask_delimiters=True),
    ]
)
REQUEST = st.tuples(st.lists(st.integers(1, 9), min_size=1, max_size=5), WRITTEN, TEXT, WRITTEN)


class Serving(EvictingScheduler, Scheduler):
    pass


class Running(EvictingRunner, Runner):
    pass


@pytest.fixture(autouse=True)
def _known_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evicting_scheduler, "installed_version", lambda: "0.13.0")


class FullAttentionSpec:
    pass


def configurations(options: dict[str, Any] | None, pages: int, page_size: int) -> tuple[Any, Any]:
    engine = Bag(
        additional_config={} if options is None else {KEY: options},
        cache_config=Bag(enable_prefix_caching=False),
        scheduler_config=Bag(long_prefill_token_threshold=0, async_scheduling=False),
        parallel_config=Bag(pipeline_parallel_size=1),
        model_config=Bag(),
    )
    cache = Bag(num_blocks=pages, page_size=page_size, kv_cache_groups=[Bag(kv_cache_spec=FullAttentionSpec())])
    return engine, cache


def make(parts: tuple[list[int], ...], name: str) -> tuple[Request, np.ndarray]:
    user, earlier, question, output = parts
    prompt = user + earlier + question
    spans = [[len(user), len(user) + len(earlier)]] if earlier else []
    roles = np.full(len(prompt) + len(output), Role.PROTECTED)
    roles[len(user) : len(user) + len(earlier)] = Role.ASSISTANT
    roles[len(prompt) :] = Role.ASSISTANT
    return Request(name, prompt, output, Bag(extra_args={SPANS_KEY: spans})), roles


def expected(request: Request, roles: np.ndarray, rules: MementoRules) -> dict[int, list[int]]:
    """By position, the positions that its last computation sees."""
    tokens = request.prompt + request.output
    if rules.restart:
        extended = expand_for_restart(tokens, MARKERS, roles, mask_delimiters=rules.mask_delimiters)
        source, until = extended.source, extended.visible_until
    else:
        source, until = np.arange(len(tokens)), visible_until(tokens, MARKERS, rules, roles)
    return {int(source[q]): sorted(int(source[k]) for k in range(q + 1) if q < until[k]) for q in range(len(source))}


def play(requests: list[Request], rules: MementoRules, pages: int, page_size: int, budget: int) -> dict[Any, list[int]]:
    """By request and position, what its last computation found in the cache."""
    options = {"markers": list(MARKERS), "rules": rules.model_dump()}
    engine, cache = configurations(options, pages, page_size)
    scheduler, runner = Serving(engine, cache, budget), Running(cache, rows=8)
    number = {request.request_id: index for index, request in enumerate(requests)}
    for request in requests:
        scheduler.add_request(request)
    found = {}
    for _ in range(1500):
        if not scheduler.requests and not scheduler.finished_req_ids:
            break
        output = scheduler.schedule()
        for name, fed, cached in runner.execute(output, number):
            for position in fed:  # attention inside a piece is causal
                found[name, position] = cached[: len(cached) - (fed[-1] - position)]
        scheduler.update_from_output(output)
    assert not scheduler.requests, "a request never ended"
    assert engine.scheduler_config.long_prefill_token_threshold == 0
    assert len(scheduler.kv_cache_manager.coordinator.manager.block_pool.free) == pages, "pages were lost"
    return found


@settings(deadline=None, max_examples=300)
@given(st.lists(REQUEST, min_size=1, max_size=3), RULES, st.integers(1, 4), st.integers(1, 12), st.integers(0, 25))
def test_each_token_finds_what_the_definition_lets_it_see(
    drawn: list[tuple[list[int], ...]], rules: MementoRules, page_size: int, budget: int, spare: int
) -> None:
    """Prompts with finished blocks, small token budgets, so few pages that requests are preempted and start again."""
    made = [make(parts, str(index)) for index, parts in enumerate(drawn)]
    longest = max(len(request.prompt) + len(request.output) for request, _ in made)
    pages = max(3, -(-longest // page_size) + spare // page_size)  # of 2 pages the axis cannot be told
    found = play([request for request, _ in made], rules, pages, page_size, budget)
    for request, roles in made:
        wanted = expected(request, roles, rules)
        for position in range(len(request.prompt) + request.sampled):
            assert found[request.request_id, position] == wanted[position], (request.request_id, position)


def test_admission_counts_keys_that_are_there_and_preemption_evicts_once_more() -> None:
    """74 tokens in blocks of 6 run through 30 slots; a second request that does not fit beside them still ends."""
    output = [1, *[9] * 6, 2, 3, 8, 4] * 6
    requests = [Request(name, [7, 7], list(output), Bag(extra_args=None)) for name in "ab"]
    play(requests, MementoRules(mask_delimiters=True), pages=15, page_size=2, budget=64)
    assert len(output) + 2 > 15 * 2
    assert requests[1].preemptions > 0


def test_without_options_nothing_is_changed() -> None:
    engine, cache = configurations(None, 8, 2)
    scheduler = Serving(engine, cache, 16)
    scheduler.add_request(Request("a", [1, 9, 2, 3, 4, 7], [1, 9, 2, 3, 4, 7], None))
    output = scheduler.schedule()
    assert output.num_scheduled_tokens == {"a": 6}
    assert not hasattr(output, "mnemic")
    assert "get_num_blocks_to_allocate" not in vars(scheduler.kv_cache_manager.coordinator)


def test_markers_of_the_prompt_mean_nothing_unless_the_request_says_who_wrote_them() -> None:
    prompt = [7, 1, 9, 9, 2, 3, 8, 4, 7]
    found = play([Request("a", prompt, [7], Bag(extra_args=None))], MementoRules(), 20, 2, 64)
    assert found["a", 8] == list(range(9))
    written = Bag(extra_args={SPANS_KEY: [[1, 8]]})
    found = play([Request("a", prompt, [7], written)], MementoRules(), 20, 2, 64)
    assert found["a", 8] == [0, 1, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("spans", [[[0, 99]], [[2, 1]], [[0, 3], [2, 4]], [[0]], "x", [[0.5, 2]]])
def test_wrong_spans_are_refused(spans: Any) -> None:
    engine, cache = configurations({"markers": list(MARKERS)}, 8, 2)
    asked = Bag(extra_args={SPANS_KEY: spans})
    with pytest.raises(UsageError, match=SPANS_KEY):
        assistant_spans(asked, 5)
    scheduler = Serving(engine, cache, 16)
    with pytest.warns(RuntimeWarning, match="its prompt is kept"):  # the engine of all the others goes on
        scheduler.add_request(Request("a", [7] * 5, [7], asked))
    assert scheduler.schedule().num_scheduled_tokens == {"a": 5}
