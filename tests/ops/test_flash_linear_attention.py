"""Backend fla: refused in one line where it cannot run, called as its package wants, equal to ours on CUDA."""

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mnemic.errors import MissingExtra, UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.ops import flash_linear_attention
from mnemic.ops.decayed_linear_attention import decayed_linear_attention, decayed_linear_attention_naive
from mnemic.ops.gated_delta_rule import gated_delta_rule, gated_delta_rule_naive
from mnemic.ops.gated_linear_attention import gated_linear_attention, gated_linear_attention_naive

WITH_BACKEND = ["linear-attention", "retention", "gla", "delta-net", "gated-deltanet", "mamba2", "based"]
on_cuda = pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("fla") is None, reason="needs CUDA and flash-linear-attention"
)


def problem(time: int = 70, groups: int = 4, device: str = "cpu") -> dict[str, Tensor]:
    """B=2, H=4, K=16, V=32."""
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 2, groups, time, 16, generator=g)
    made = {
        "q": q / 4, "k": F.normalize(k, dim=-1), "v": torch.randn(2, 4, time, 32, generator=g),
        "beta": torch.rand(2, 4, time, generator=g), "decay": -torch.rand(2, 4, time, generator=g),
        "decays": -torch.rand(2, 4, time, 16, generator=g), "state": torch.randn(2, 4, 16, 32, generator=g),
    }  # fmt: skip
    return {name: x.to(device) for name, x in made.items()}


@pytest.mark.parametrize("name", WITH_BACKEND)
def test_without_cuda_every_mixer_says_what_to_do(name):
    model = MnemicForCausalLM(MnemicConfig(layers=[{"mixer": name, "backend": "fla"}], hidden_size=32))
    with pytest.raises(UsageError, match=r"backend is 'fla'.*CUDA.*on cpu; use backend=torch"):
        model(torch.ones(1, 3, dtype=torch.long))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fla", None)
    for module in [name for name in sys.modules if name.startswith("fla.")]:
        monkeypatch.delitem(sys.modules, module)
    somewhere = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    with pytest.raises(MissingExtra, match=r"mnemic\[fla\]"):
        flash_linear_attention._kernel("gla", "chunk_gla", somewhere)


def test_an_unknown_backend_is_refused():
    with pytest.raises(UsageError, match="backend"):
        MnemicConfig(layers=[{"mixer": "gla", "backend": "cuda"}]).mixer(0)


class Peer:
    """flash-linear-attention 0.6 as its documentation describes it: names, [B, T, H, D], types; computed by ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called: list[str] = []
        monkeypatch.setattr(flash_linear_attention, "_kernel", lambda module, name, q: getattr(self, name))

    def chunk_simple_gla(self, q, k, v, g=None, *, scale, initial_state, output_final_state):
        return self.run("chunk_simple_gla", decayed_linear_attention_naive, [q, k, v, g], scale, initial_state)

    def chunk_gla(self, q, k, v, g, *, scale, initial_state, output_final_state):
        return self.run("chunk_gla", gated_linear_attention_naive, [q, k, v, g], scale, initial_state)

    def chunk_delta_rule(self, q, k, v, beta, *, scale, initial_state, output_final_state, use_qk_l2norm_in_kernel):
        assert q.dtype == k.dtype == v.dtype == beta.dtype != torch.float32
        tensors, options = [q, k, v, beta, None], {"normalise": use_qk_l2norm_in_kernel}
        return self.run("chunk_delta_rule", gated_delta_rule_naive, tensors, scale, initial_state, **options)

    def chunk_gated_delta_rule(
        self, q, k, v, g, beta, *, scale, initial_state, output_final_state, use_qk_l2norm_in_kernel
    ):
        tensors, options = [q, k, v, beta, g], {"normalise": use_qk_l2norm_in_kernel}
        return self.run("chunk_gated_delta_rule", gated_delta_rule_naive, tensors, scale, initial_state, **options)

    def run(self, name, form, tensors, scale, state, **options):
        self.called.append(name)
        q, _, v = tensors[:3]
        assert all(x is None or x.is_contiguous() for x in tensors)
        assert q.dtype == v.dtype
        assert state is None or state.dtype == torch.float32
        q, *rest = (None if x is None else x.transpose(1, 2) for x in tensors)
        if "normalise" in options:
            options["scale"] = scale
        else:
            q = q * scale
        o, final = form(q, *rest, state, **options)
        return o.transpose(1, 2), final


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_their_kernels_are_called_as_they_want(monkeypatch, dtype, with_state):
    peer, p = Peer(monkeypatch), problem()
    state = p["state"] if with_state else None
    half = {name: x.to(dtype) for name, x in p.items()}
    grouped = {name: x.to(dtype) for name, x in problem(groups=2).items()}
    calls = [
        (decayed_linear_attention, (half["q"], half["k"], half["v"], p["decay"], state), {}),
        (decayed_linear_attention, (half["q"], half["k"], p["v"], None, state), {}),
        (decayed_linear_attention, (grouped["q"], grouped["k"], grouped["v"], p["decay"], state), {}),
        (gated_linear_attention, (half["q"], half["k"], half["v"], p["decays"], state), {}),
        (gated_delta_rule, (half["q"], half["k"], half["v"], p["beta"], p["decay"], state), {"normalise": True}),
        (gated_delta_rule, (half["q"], half["k"], half["v"], p["beta"], None, state), {"scale": 0.3}),
    ]
    rounding = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 0.03, "atol": 0.03}
    for form, args, options in calls:
        got, want = form(*args, **options, backend="fla"), form(*args, **options)
        for g, w in zip(got, want, strict=True):
            assert g.dtype == w.dtype
            torch.testing.assert_close(g, w, **rounding)
    plain = "chunk_gated_delta_rule" if dtype == torch.float32 else "chunk_delta_rule"
    assert peer.called == [*["chunk_simple_gla"] * 3, "chunk_gla", "chunk_gated_delta_rule", plain]


def test_one_token_needs_no_kernel():
    p = problem(1)
    got = gated_linear_attention(p["q"], p["k"], p["v"], p["decays"], p["state"], backend="fla")
    for g, w in zip(got, gated_linear_attention(p["q"], p["k"], p["v"], p["decays"], p["state"]), strict=True):
        assert torch.equal(g, w)


@on_cuda
@pytest.mark.parametrize("name", WITH_BACKEND)
def test_on_cuda_a_model_is_the_same_with_either_backend(name):
    """Logits, and the gradient of the embedding, in bfloat16."""
    results = []
    for backend in ("torch", "fla"):
        torch.manual_seed(0)
        config = MnemicConfig(layers=[{"mixer": name, "backend": backend}], hidden_size=128, num_hidden_layers=2)
        model = MnemicForCausalLM(config).cuda().bfloat16()
        ids = torch.randint(0, 256, (2, 200), generator=torch.Generator().manual_seed(1)).cuda()
        logits = model(ids).logits.float()
        logits.square().mean().backward()
        results.append((logits.detach(), model.model.embed_tokens.weight.grad.float()))
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).norm() < 0.05 * ours.norm()
