"""Generation with eviction: equal to transformers' own where nothing leaves, refused where it cannot work."""

from typing import Any

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList, StaticCache, TextStreamer
from transformers.generation.streamers import BaseStreamer

from mnemic.errors import UsageError
from mnemic.models.visibility import attention_masks
from mnemic.teaching.memento.blocks import visible_until
from mnemic.teaching.memento.generation import memento_decode, memento_generate
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role

MARKERS = MarkerIds(1, 2, 3, 4)
NEVER_EVICT = MementoRules(keep_last_n_blocks=-1)
IDS = torch.tensor([[0, 0, 0, 7, 9, 30], [12, 5, 38, 6, 21, 8], [0, 11, 13, 39, 5, 5]])
REAL = (IDS > 0).long()
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True},
    "top-k, two each": {"do_sample": True, "temperature": 1.5, "top_k": 9, "num_return_sequences": 2},
    "penalised, ends": {"do_sample": True, "repetition_penalty": 1.2, "eos_token_id": [8, 9, 10, 11, 12]},
    "greedy, ends": {"eos_token_id": list(range(5, 20))},
}


class Recorded(BaseStreamer):
    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        self.seen.append(value)

    def end(self) -> None:
        self.ended = True


class Favour(LogitsProcessor):
    """Makes a row write what its script says, so that a random model writes blocks."""

    def __init__(self, script: list[int], prompt: int) -> None:
        self.script, self.prompt = script, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self.prompt
        if step < len(self.script):
            scores = scores.clone()
            scores[:, self.script[step]] = 1e4
        return scores


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", ["qwen3", "olmo3", "host-hybrid"])
def test_equals_generate_where_nothing_is_evicted(evicting: Any, name: str, options: dict[str, Any]) -> None:
    made, settings = evicting.model(name), {"attention_mask": REAL, "max_new_tokens": 20, "pad_token_id": 0, **options}
    torch.manual_seed(3)
    want = made.generate(IDS, **settings)
    torch.manual_seed(3)
    got = memento_generate(made, IDS, rules=NEVER_EVICT, markers=MARKERS, **settings)
    assert torch.equal(got.sequences, want)
    torch.manual_seed(3)
    plain = made.generate(IDS, custom_generate=memento_decode, rules=NEVER_EVICT, markers=MARKERS, **settings)
    assert torch.equal(plain, want)


def test_free_generation_equals_the_mask_over_what_was_written(evicting: Any) -> None:
    made = evicting.model("llama")
    script = [1, 9, 14, 22, 2, 3, 17, 4, 30, 1, 25, 2, 3, 4]
    rules = MementoRules()
    out = memento_generate(
        made, IDS, attention_mask=REAL, rules=rules, markers=MARKERS, max_new_tokens=24, pad_token_id=0,
        do_sample=True, logits_processor=LogitsProcessorList([Favour(script, 6)]), output_logits=True,
    )  # fmt: skip
    assert out.logits is not None
    for index, row in enumerate(out.sequences):
        ids = row[REAL[index].argmax() :]
        prompt = int(REAL[index].sum())
        roles = [Role.PROTECTED] * prompt + [Role.ASSISTANT] * (len(ids) - prompt)
        until = torch.from_numpy(visible_until(ids, MARKERS, rules, roles))[None]
        with torch.no_grad():
            want = made(input_ids=ids[None], attention_mask=attention_masks(made.config, until)).logits[0]
        got = torch.stack([step[index] for step in out.logits])
        torch.testing.assert_close(got, want[prompt - 1 : -1], atol=1e-4, rtol=0)
        assert len(out.blocks[index]) >= 2
        assert out.kv_trace[index][-1] < len(ids) - 3


def test_a_streamer_gets_the_prompt_every_token_and_the_end(evicting: Any) -> None:
    streamer = Recorded()
    out = memento_generate(
        evicting.model("qwen3"), IDS[1:2], rules=NEVER_EVICT, markers=MARKERS, max_new_tokens=5, streamer=streamer,
        pad_token_id=0,
    )  # fmt: skip
    assert torch.equal(torch.cat([part.flatten() for part in streamer.seen]), out.sequences[0])
    assert streamer.ended
    assert issubclass(TextStreamer, BaseStreamer)


@pytest.mark.parametrize("name", ["qwen3", "host"])
def test_what_is_held_is_what_the_cache_holds(evicting: Any, name: str) -> None:
    made, rules = evicting.model(name), MementoRules(mask_delimiters=True)
    forced = [[1, *[20] * 70, 2, 3, 30, 31, 4, 33], [1, 20, 2, 3, 4, 9]]
    out = memento_generate(made, IDS[:2], attention_mask=REAL[:2], rules=rules, markers=MARKERS, forced=forced)
    assert [row[6:].tolist()[: len(want)] for row, want in zip(out.sequences, forced, strict=True)] == forced
    assert out.kv_trace[0] == [*range(1, 3 + 75 + 1), 3 + 3 + 1]  # a token is held once it was fed; the last never is
    assert out.peak_tokens == [78, max(6, 6 + 3 + 1)]
    assert out.area == [sum(trace) for trace in out.kv_trace]
    assert out.evictions == [1, 1]
    assert out.allocated_peak >= 6 + 75


def test_roles_tell_whose_markers_count(evicting: Any) -> None:
    made = evicting.model("qwen3")
    prompt = torch.tensor([[9, 1, 10, 11, 2, 3, 12, 4, 13]])
    told = torch.tensor([[0, *[2] * 8]])
    alone = memento_generate(made, prompt, rules=MementoRules(), markers=MARKERS, max_new_tokens=2, pad_token_id=0)
    known = memento_generate(
        made, prompt, roles=told, rules=MementoRules(), markers=MARKERS, max_new_tokens=2, num_return_sequences=2,
        do_sample=True, pad_token_id=0,
    )  # fmt: skip
    assert alone.kv_trace[0][-1] == 10
    assert [trace[-1] for trace in known.kv_trace] == [8, 8]
    assert alone.blocks == [[]]
    assert [len(blocks) for blocks in known.blocks] == [1, 1]


def test_a_prompt_may_end_inside_a_block(evicting: Any) -> None:
    prompt, forced = torch.tensor([[9, 1, 10, 11]]), [[12, 2, 3, 13, 4, 14]]
    out = memento_generate(
        evicting.model("qwen3"), prompt, roles=torch.tensor([[0, 2, 2, 2]]), rules=MementoRules(), markers=MARKERS,
        forced=forced,
    )  # fmt: skip
    assert out.kv_trace[0] == [1, 2, 3, 4, 5, 6, 7, 8, 9 - 3]


def test_a_block_is_ended_where_the_cap_says(evicting: Any) -> None:
    out = memento_generate(
        evicting.model("qwen3"), IDS, attention_mask=REAL, rules=MementoRules(max_block_tokens=3), markers=MARKERS,
        max_new_tokens=12, pad_token_id=0, well_formed=True, suppress_tokens=[2],
        logits_processor=LogitsProcessorList([Favour([1], 6)]),
    )  # fmt: skip
    assert out.forced_block_ends[0] >= 1
    assert all(row[6] == 1 and row[10] == 2 and 2 not in row[7:10] for row in out.sequences.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_well_formed_streams_have_no_marker_out_of_order(evicting: Any, seed: int) -> None:
    torch.manual_seed(seed)
    bias = [[[marker], 6.0] for marker in MARKERS]
    common: dict[str, Any] = {
        "rules": MementoRules(), "markers": MARKERS, "max_new_tokens": 40, "do_sample": True, "pad_token_id": 0,
        "attention_mask": REAL, "sequence_bias": bias,
    }  # fmt: skip
    made = evicting.model("qwen3")
    assert memento_generate(made, IDS, well_formed=True, **common).malformed == [0, 0, 0]
    assert sum(memento_generate(made, IDS, **common).malformed) > 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "beams": ({"num_beams": 2}, "beams share"),
    "no cache": ({"use_cache": False}, "nothing to evict"),
    "static": ({"cache_implementation": "static"}, "no way to remove"),
    "paged": ({"cache_implementation": "paged"}, "no way to remove"),
    "lookup": ({"prompt_lookup_num_tokens": 2}, "assisted"),
    "attentions": ({"output_attentions": True}, "evicted"),
    "embeddings": ({"token_type_ids": torch.zeros(3, 6, dtype=torch.int64)}, "token_type_ids"),
    "roles": ({"roles": torch.zeros(3, 5, dtype=torch.int64)}, "one role for each"),
    "padding": ({"attention_mask": REAL.flip(1)}, "padding_side='left'"),
    "forced": ({"forced": [[5]]}, "give each row"),
}


@pytest.mark.parametrize(("given", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_work_is_refused_with_the_reason(evicting: Any, given: dict[str, Any], reason: str) -> None:
    settings = {"attention_mask": REAL, "max_new_tokens": 3, "pad_token_id": 0, **given}
    made = evicting.model("llama") if "token_type_ids" not in given else _with_types(evicting.model("llama"))
    with pytest.raises(UsageError, match=reason):
        memento_generate(made, IDS, rules=MementoRules(), markers=MARKERS, **settings)


def _with_types(made: Any) -> Any:
    made._validate_model_kwargs = lambda kwargs: None  # Llama's own check would refuse it before
    return made


def test_other_models_and_caches_are_refused(evicting: Any) -> None:
    made = evicting.model("qwen3")
    settings: dict[str, Any] = {"rules": MementoRules(), "markers": MARKERS, "max_new_tokens": 3, "pad_token_id": 0}
    with pytest.raises(UsageError, match="StaticCache"):
        memento_generate(made, IDS[1:2], past_key_values=StaticCache(config=made.config, max_cache_len=20), **settings)
    with pytest.raises(UsageError, match="assisted decoding"):
        memento_generate(made, IDS[1:2], assistant_model=made, **settings)
    made.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UsageError, match="cannot hide single keys"):
        memento_generate(made, IDS[1:2], **settings)
    with pytest.raises(UsageError, match="no layer of full attention"):
        memento_generate(evicting.model("recurrent"), IDS[1:2], **settings)
    with pytest.raises(UsageError, match="takes no position_ids"):
        memento_generate(evicting.model("bloom", "eager"), IDS[1:2], **settings)
    with pytest.raises(UsageError, match="needs rules"):
        evicting.model("llama").generate(IDS[1:2], custom_generate=memento_decode, max_new_tokens=1, pad_token_id=0)
