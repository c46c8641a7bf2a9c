"""Oracles that nobody here wrote: transformers' own classes, with the same weights."""

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from mnemic.errors import UsageError
from mnemic.models import from_transformers

DECODER = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "vocab_size": 50,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
MAMBA2 = {"hidden_size": 32, "num_hidden_layers": 2, "num_heads": 4, "head_dim": 16, "state_size": 8, "vocab_size": 50}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**DECODER)),
    "llama-tied-biased-scaled": lambda: LlamaForCausalLM(
        LlamaConfig(**DECODER, tie_word_embeddings=True, attention_bias=True, rope_parameters=LLAMA3)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**DECODER, head_dim=16)),
    "mamba2": lambda: Mamba2ForCausalLM(Mamba2Config(**MAMBA2, n_groups=1)),
    "mamba2-groups-biased": lambda: Mamba2ForCausalLM(
        Mamba2Config(**MAMBA2, n_groups=2, use_bias=True, chunk_size=8, time_step_limit=(0.01, 0.2))
    ),
}


@pytest.fixture(params=MODELS)
def original(request):
    torch.manual_seed(0)
    m = MODELS[request.param]()
    with torch.no_grad():  # the originals start with zero biases and unit norms, which would hide a mix-up
        for p in m.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return m.eval()


def ids(batch: int = 3, time: int = 45) -> torch.Tensor:
    return torch.randint(3, 50, (batch, time), generator=torch.Generator().manual_seed(0))


def test_logits_are_the_same(original):
    with torch.no_grad():
        torch.testing.assert_close(
            from_transformers(original)(ids()).logits, original(ids(), use_cache=False).logits, rtol=1e-4, atol=1e-4
        )


def test_generations_are_the_same_from_padded_prompts(original):
    mask = torch.ones_like(ids())
    mask[0, :7] = mask[1, :3] = 0
    options = {"attention_mask": mask, "max_new_tokens": 10, "do_sample": False, "pad_token_id": 0}
    want = original.generate(ids(), **options)
    assert torch.equal(from_transformers(original).generate(ids(), **options), want)


def test_the_original_is_left_alone(original):
    before = {name: weight.clone() for name, weight in original.state_dict().items()}
    converted = from_transformers(original)
    with torch.no_grad():
        for p in converted.parameters():
            p.zero_()
    for name, weight in original.state_dict().items():
        assert torch.equal(weight, before[name])


def test_what_cannot_be_expressed_is_refused():
    with pytest.raises(UsageError, match="GPT2LMHeadModel; causal models that can be converted: llama, mamba2, qwen3"):
        from_transformers(GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=10)))
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 16}
    with pytest.raises(UsageError, match="rope_type is 'yarn'"):
        from_transformers(LlamaForCausalLM(LlamaConfig(**DECODER, rope_parameters=yarn)))
