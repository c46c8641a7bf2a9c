"""The mask that each model takes says the same as the rule, in the form that its kernel can use."""

from copy import deepcopy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Olmo3Config, Olmo3ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.models.visibility import attention_masks, layer_kinds, masked_by_layer_type
from mnemic.ops.visibility import visibility_mask

TIME = 24
SMALL = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.2, "pad_token_id": None, "bos_token_id": None,
    "eos_token_id": None,
}  # fmt: skip
WINDOWED = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SMALL)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(head_dim=8, **SMALL)),
    "olmo3": (Olmo3ForCausalLM, Olmo3Config(**SMALL, **WINDOWED)),
}


def made(name: str, kernel: str):
    torch.manual_seed(0)
    kind, config = MODELS[name]
    return kind._from_config(deepcopy(config), attn_implementation=kernel).eval()  # it would note the kernel in ours


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 50, (2, TIME), generator=generator)
    until = torch.arange(TIME) + 1 + torch.randint(0, TIME, (2, TIME), generator=generator)
    return ids, until


def logits(model, ids, mask):
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, use_cache=False).logits


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kernel", ["eager", "flex_attention"])
def test_every_kernel_computes_the_same(name: str, kernel: str, rows) -> None:
    ids, until = rows
    wanted = logits(model := made(name, "sdpa"), ids, attention_masks(model.config, until))
    other = made(name, kernel)
    with torch.compiler.set_stance("force_eager"):  # FlexAttention would otherwise want a C++ compiler
        found = logits(other, ids, attention_masks(other.config, until))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    plain = logits(model, ids, None)
    assert (plain - wanted).abs().max() > 1e-2, "the rule hides something"


def test_booleans_would_be_silently_wrong_in_eager_attention_so_floats_are_given(rows) -> None:
    ids, until = rows
    model = made("llama", "eager")
    mask = attention_masks(model.config, until)
    assert mask.dtype == torch.float32
    right = logits(model, ids, mask)
    wrong = logits(model, ids, visibility_mask(until))
    assert (right - wrong).abs().max() > 1e-2


def test_a_hidden_token_cannot_be_told_from_another_one() -> None:
    ids = torch.arange(10)[None]
    until = torch.full((1, 10), 100)
    until[0, 3] = 6
    model = made("qwen3", "sdpa")
    changed = ids.clone()
    changed[0, 3] = 40
    until[0, 4:6] = 6  # and those that saw it
    before, after = (logits(model, x, attention_masks(model.config, until)) for x in (ids, changed))
    torch.testing.assert_close(before[:, 6:], after[:, 6:])
    assert (before[:, 3:6] - after[:, 3:6]).abs().max() > 1e-3


def test_windows_stay_windows_and_hide_nothing_else(rows) -> None:
    masks = attention_masks(made("olmo3", "sdpa").config, rows[1])
    assert set(masks) >= {"full_attention", "sliding_attention"}
    never = torch.full_like(rows[1], TIME)
    torch.testing.assert_close(masks["sliding_attention"], visibility_mask(never, window=5))
    torch.testing.assert_close(masks["full_attention"], visibility_mask(rows[1]))


def test_the_host_takes_the_mask_in_its_attention_layers_and_padding_in_the_others(rows) -> None:
    ids, until = rows
    layers = [{"mixer": "attention"}, {"mixer": "mamba2", "head_width": 8, "state": 8}]
    model = MnemicForCausalLM(MnemicConfig(vocab_size=50, hidden_size=32, layers=layers)).eval()
    assert layer_kinds(model.config) == ["full_attention", "linear_attention"]
    real = torch.ones(2, TIME, dtype=torch.bool)
    real[1, -4:] = False
    mask = attention_masks(model.config, until, real=real)
    assert (logits(model, ids, mask) - logits(model, ids, None)).abs().max() > 1e-3
    torch.testing.assert_close(
        logits(model, ids, mask)[1, : TIME - 4],
        logits(model, ids[1:, : TIME - 4], attention_masks(model.config, until[1:, : TIME - 4]))[0],
    )


def test_packed_documents_see_only_themselves(rows) -> None:
    ids, until = rows
    model = made("llama", "sdpa")
    documents = torch.tensor([[0] * 10 + [1] * 14] * 2)
    positions = torch.cat([torch.arange(10), torch.arange(14)]).expand(2, -1)
    with torch.no_grad():
        mask = attention_masks(model.config, until, documents)
        packed = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
        alone = model(
            input_ids=ids[:, 10:], attention_mask=attention_masks(model.config, until[:, 10:] - 10), use_cache=False
        ).logits
    torch.testing.assert_close(packed[:, 10:], alone, rtol=0, atol=1e-5)


def test_what_cannot_hide_single_keys_is_refused(rows) -> None:
    config = LlamaConfig(**SMALL)
    config._attn_implementation = "flash_attention_2"
    with pytest.raises(UsageError, match=r"flash_attention_2.*sdpa"):
        attention_masks(config, rows[1])
    strange = Qwen3Config(head_dim=8, **SMALL)
    strange.layer_types = ["full_attention", "hybrid"]
    with pytest.raises(UsageError, match="layers of type hybrid; known"):
        layer_kinds(strange)


def test_which_models_want_a_mask_per_kind_of_layer() -> None:
    assert not masked_by_layer_type(LlamaConfig(**SMALL))
    assert not masked_by_layer_type(Qwen3Config(head_dim=8, **SMALL))
    assert masked_by_layer_type(Olmo3Config(**SMALL, **WINDOWED))
    assert masked_by_layer_type(MnemicConfig())


def test_the_host_refuses_a_mask_of_numbers(rows) -> None:
    model = MnemicForCausalLM(MnemicConfig(vocab_size=50))
    with pytest.raises(UsageError, match=r"float32; want bool"):
        model(input_ids=rows[0], attention_mask=torch.zeros(2, 1, TIME, TIME))
