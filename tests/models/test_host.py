"""The host model is an ordinary transformers model. Legend: B batch, T time."""

import copy

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM

VOCABULARY = 40
PATTERNS = {
    "attention": [{"mixer": "attention", "heads": 2, "conv_size": 4}],
    "sliding-window": [{"mixer": "sliding-window", "heads": 2, "window": 6, "prefix": 2}],
    "mamba2": [{"mixer": "mamba2", "head_width": 8, "state": 8}],
    "gated-deltanet": [{"mixer": "gated-deltanet", "heads": 2}],
    "hybrid": [{"mixer": "mamba2", "head_width": 8, "state": 8}, {"mixer": "attention", "heads": 2}],
}
every_pattern = pytest.mark.parametrize("pattern", PATTERNS)


def model(pattern: str, dtype: torch.dtype = torch.float64, **options) -> MnemicForCausalLM:
    torch.manual_seed(0)
    layers = PATTERNS[pattern]
    config = MnemicConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, layers=layers, **options)
    return MnemicForCausalLM(config).to(dtype).eval()


def prompts(batch: int = 3, time: int = 12) -> Tensor:
    return torch.randint(1, VOCABULARY, (batch, time), generator=torch.Generator().manual_seed(time))


def left_padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    ids = torch.stack([torch.cat([row.new_zeros(longest - len(row)), row]) for row in rows])
    return ids, (torch.arange(longest) >= longest - torch.tensor([[len(row)] for row in rows])).long()


def generate(m: MnemicForCausalLM, ids: Tensor, **options) -> Tensor:
    options = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0, **options}
    return m.generate(ids, attention_mask=options.pop("attention_mask", torch.ones_like(ids)), **options)


@every_pattern
def test_greedy_beam_and_sampling_do_not_depend_on_the_memory(pattern):
    m, ids = model(pattern), prompts()
    for options in ({}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}, {"do_sample": True, "top_k": 5}):
        torch.manual_seed(3)
        want = generate(m, ids, use_cache=False, **options)
        torch.manual_seed(3)
        assert torch.equal(generate(m, ids, **options), want)


@every_pattern
def test_left_padded_prompts_go_on_as_they_would_alone(pattern):
    m = model(pattern)
    rows = [prompts(1, time)[0] for time in (5, 12, 9)]
    ids, mask = left_padded(rows)
    together = generate(m, ids, attention_mask=mask)
    for row, out in zip(rows, together, strict=True):
        assert torch.equal(generate(m, row[None])[0, len(row) :], out[ids.shape[1] :])


@every_pattern
def test_right_padding_changes_no_logit_and_no_gradient(pattern):
    m, ids = model(pattern), prompts(2, 10)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    logits = m(ids, attention_mask=mask).logits
    torch.testing.assert_close(logits[:1, :6], m(ids[:1, :6]).logits)
    torch.testing.assert_close(logits[1:], m(ids[1:]).logits)


@every_pattern
def test_saved_and_loaded_it_is_the_same(pattern, tmp_path):
    m = model(pattern, torch.float32)
    m.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    assert not list(tmp_path.glob("*.bin"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert isinstance(loaded, MnemicForCausalLM)
    assert AutoConfig.from_pretrained(tmp_path).layers == m.config.layers
    for name, weight in m.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    torch.testing.assert_close(loaded(prompts()).logits, m(prompts()).logits)


@every_pattern
def test_gradient_checkpointing_changes_no_gradient(pattern):
    ids, gradients = prompts(), []
    for checkpointing in (False, True):
        m = model(pattern).train()
        if checkpointing:
            m.gradient_checkpointing_enable()
            assert m.is_gradient_checkpointing
        m(ids, labels=ids).loss.backward()
        gradients.append([p.grad for p in m.parameters()])
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want)


@every_pattern
def test_pieces_through_the_memory_equal_the_whole(pattern):
    m, ids = model(pattern), prompts(2, 30)
    want = m(ids).logits
    out = m(ids[:, :11], use_cache=True)
    memory = out.past_key_values
    rest = [m(ids[:, a:b], past_key_values=memory).logits for a, b in ((11, 12), (12, 29), (29, 30))]
    torch.testing.assert_close(torch.cat([out.logits, *rest], 1), want)
    assert sum(layer.nbytes for layer in memory.layers) == 2 * m.memory_bytes(30)


@every_pattern
def test_a_forked_memory_serves_two_continuations(pattern):
    m, ids = model(pattern), prompts(2, 20)
    memory = m(ids[:, :15], use_cache=True).past_key_values
    fork = copy.deepcopy(memory)
    m(ids.flip(1)[:, :5], past_key_values=fork)
    torch.testing.assert_close(m(ids[:, 15:], past_key_values=memory).logits, m(ids).logits[:, 15:])


@every_pattern
def test_bf16_trains_and_generates(pattern):
    m = model(pattern, torch.bfloat16).train()
    loss = m(prompts(), labels=prompts()).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in m.parameters())
    assert generate(m.eval(), prompts()).shape == (3, 21)


def test_embeddings_are_tied_or_not_as_asked():
    tied, untied = model("mamba2"), model("mamba2", tie_word_embeddings=False)
    assert tied.lm_head.weight.data_ptr() == tied.model.embed_tokens.weight.data_ptr()
    assert untied.lm_head.weight.data_ptr() != untied.model.embed_tokens.weight.data_ptr()


def test_a_pattern_repeats_over_the_depth():
    config = MnemicConfig(num_hidden_layers=5, layers=PATTERNS["hybrid"])
    assert [layer["mixer"] for layer in config.layers] == ["mamba2", "attention", "mamba2", "attention", "mamba2"]


@pytest.mark.parametrize("init", ["small", "normal"])
def test_initialisation_has_the_scale_its_recipe_says(init):
    torch.manual_seed(0)
    layers = [{"mixer": "mamba2"}]
    m = MnemicForCausalLM(MnemicConfig(vocab_size=500, hidden_size=64, num_hidden_layers=4, layers=layers, init=init))
    mixer = m.model.layers[0].mixer
    embedding = m.model.embed_tokens.weight.std().item()
    projection, out = mixer.proj.weight.std().item(), mixer.out.weight.std().item()
    if init == "small":
        assert embedding == pytest.approx(0.1, rel=0.05)
        assert projection == pytest.approx((3 * 64) ** -0.5, rel=0.05)  # uniform in +-1/sqrt(64)
    else:
        assert embedding == pytest.approx(0.02, rel=0.05)
        assert projection == pytest.approx(0.02, rel=0.05)
        assert out == pytest.approx(0.02 / 2, rel=0.05)  # divided by sqrt(4 layers)
    dt = torch.nn.functional.softplus(mixer.dt_bias)
    assert ((dt > 0.99e-3) & (dt < 1.01e-1)).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": [{"mixer": "mamba3"}]}, "unknown memory 'mamba3'; did you mean 'mamba2'"),
        ({"layers": [{"mixer": "mamba2", "headwidth": 8}]}, "unknown option 'headwidth'; did you mean 'head_width'"),
        ({"layers": [{"mixer": "attention", "heads": 7}]}, "width 16 does not split into 7 heads"),
        ({"layers": [{"mixer": "mamba2", "width": 8}]}, "memory 'mamba2': width is the model's own"),
        ({"layers": [{"heads": 2}]}, "must name a 'mixer'"),
        ({"layers": [{"mixer": "mamba2"}] * 3}, "layers names 3 layers, but num_hidden_layers is 2"),
        ({"init": "xavier"}, "init is 'xavier'; known: auto, small, normal"),
    ],
)
def test_wrong_configurations_say_what_would_be_right(options, said):
    with pytest.raises(UsageError) as refused:
        MnemicForCausalLM(MnemicConfig(hidden_size=16, num_hidden_layers=2, **options))
    assert said in str(refused.value)


def test_a_foreign_cache_and_a_wrong_mask_are_refused():
    m, ids = model("mamba2"), prompts()
    with pytest.raises(UsageError, match="DynamicCache"):
        m(ids, past_key_values=DynamicCache())
    with pytest.raises(UsageError, match=r"attention_mask is \(3, 5\)"):
        m(ids, attention_mask=torch.ones(3, 5))
    with pytest.raises(UsageError, match="either input_ids or inputs_embeds"):
        m()
