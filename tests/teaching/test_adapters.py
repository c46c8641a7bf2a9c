"""Adapters that really train, and a merged model that says what the adapted one said; of Mamba and of others."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)
from transformers.models.mamba import modeling_mamba

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.adapters import merged, with_adapters
from mnemic.teaching.tuning_options import Lora

VOCABULARY = 40
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def model(kind: str, tied: bool = False):
    torch.manual_seed(0)
    small = {
        "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "initializer_range": 0.2,
        "tie_word_embeddings": tied,
    }  # fmt: skip
    if kind == "mamba":
        return MambaForCausalLM(MambaConfig(**small, state_size=4))
    if kind == "mamba2":
        return Mamba2ForCausalLM(Mamba2Config(**small, num_heads=4, head_dim=8, state_size=8, n_groups=1))
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2, intermediate_size=16))
    layers = [{"mixer": kind.removeprefix("host-")}]
    return MnemicForCausalLM(MnemicConfig(VOCABULARY, 16, 2, layers=layers, tie_word_embeddings=tied))


def moved(adapted):
    """Adapters as training might leave them: not the zeros that they begin with."""
    for parameter in (p for p in adapted.parameters() if p.requires_grad):
        torch.nn.init.normal_(parameter, std=0.3)
    return adapted.train()


def logits(one, ids):
    return one(input_ids=ids, use_cache=False).logits


IDS = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))
KINDS = ["mamba", "mamba2", "llama", "host-mamba2", "host-gated-deltanet", "host-attention"]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_adapter_gets_gradient_and_merging_changes_nothing(tmp_path, kind, tied):
    adapted = moved(with_adapters(model(kind, tied), Lora(rank=2)))
    said = logits(adapted, IDS)
    said.logsumexp(-1).sum().backward()
    trained = {name: p.grad for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained
    assert [name for name, gradient in trained.items() if gradient is None or not gradient.abs().sum()] == []
    plain = merged(adapted).eval()
    torch.testing.assert_close(logits(plain, IDS), said, **CLOSE)
    plain.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path).eval(), IDS), said, **CLOSE)


@pytest.mark.parametrize("kind", ["mamba", "mamba2"])
def test_of_mamba_input_projections_embedding_and_head_are_adapted(kind):
    adapted = with_adapters(model(kind, tied=True), Lora(rank=2))
    found = {name.split(".lora_")[0].rpartition(".")[2] for name, p in adapted.named_parameters() if p.requires_grad}
    assert found == {"in_proj", "embeddings", "lm_head"} | ({"x_proj"} if kind == "mamba" else set())


def test_a_fused_kernel_would_pass_the_adapters_by_and_is_left(monkeypatch):
    calls = []
    monkeypatch.setattr(modeling_mamba, "mamba_inner_fn", lambda *_, **__: calls.append(1))
    logits(model("mamba").train(), IDS)
    assert len(calls) == 2
    adapted = moved(with_adapters(model("mamba"), Lora(rank=2, dropout=0.5)))
    first, second = logits(adapted, IDS), logits(adapted, IDS)
    assert len(calls) == 2
    assert not torch.equal(first, second)  # dropout is still on


@pytest.mark.parametrize("kind", ["mamba", "mamba2"])
def test_adapters_that_cannot_be_trained_are_refused(kind):
    with pytest.raises(UsageError, match="never be trained"):
        with_adapters(model(kind), Lora(targets=("in_proj", "dt_proj")))
    with pytest.raises(UsageError, match="out_proj"):
        with_adapters(model(kind), Lora(targets=("out_proj",)))
    with pytest.raises(UsageError, match="nothing"):
        with_adapters(model(kind), Lora(targets=("nothing",)))
