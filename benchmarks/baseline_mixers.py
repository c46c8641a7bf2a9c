"""The baseline mixers: each layer beside itself with its naive form, in one run; memory, and milliseconds to decode.

The naive form is the reference that the tests hold the fast one to, in the same layer with the same weights: one token
at a time, or, for Hyena, a direct convolution by PyTorch. Beside them, attention and Gated DeltaNet for scale.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness import BATCH, DECODE_LENGTHS, RESULTS, THREADS, WIDTH, decoding, machine, take_turns, training
from mnemic.catalogue import SYSTEMS, resolve
from mnemic.modules.memory import Step
from mnemic.modules.mixer import Mixer
from mnemic.ops.decayed_linear_attention import decayed_linear_attention_naive
from mnemic.ops.diagonal_ssm import diagonal_ssm_naive
from mnemic.ops.gated_delta_rule import gated_delta_rule_naive
from mnemic.ops.gated_linear_attention import gated_linear_attention_naive

NAIVE_LENGTH, LENGTH = 512, 2048


def _decayed(q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None, state: Tensor | None, *_: Any, **__: Any) -> Any:
    return decayed_linear_attention_naive(q, k, v, decay, state)


def _gated(*args: Any, backend: str) -> Any:
    return gated_linear_attention_naive(*args)


def _delta(*args: Any, chunk_size: int | None, backend: str, **options: Any) -> Any:
    return gated_delta_rule_naive(*args, **options)


def _modes(u: Tensor, log_decay: Tensor, weight: Tensor, state: Tensor | None, *_: Any) -> Any:
    start = torch.zeros(u.shape[0], *log_decay.shape, u.shape[-1], dtype=log_decay.dtype)
    return diagonal_ssm_naive(u, log_decay, weight, start if state is None else state)


def _direct(x: Tensor, taps: Tensor, history: Tensor | None = None) -> Tensor:
    kernel = taps[: x.shape[1]].flip(0).T[:, None]
    padded = F.pad(x.transpose(1, 2), (kernel.shape[-1] - 1, 0))
    return F.conv1d(padded, kernel, groups=x.shape[2]).transpose(1, 2)


# system -> (module, name of the operation in it, its naive form)
NAIVE: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "delta-net": ("mnemic.state.delta_net", "gated_delta_rule", _delta),
    "gla": ("mnemic.state.gla", "gated_linear_attention", _gated),
    "retention": ("mnemic.state.retention", "decayed_linear_attention", _decayed),
    "linear-attention": ("mnemic.modules.normalised_state", "decayed_linear_attention", _decayed),
    "based": ("mnemic.modules.normalised_state", "decayed_linear_attention", _decayed),
    "hyena": ("mnemic.modules.long_convolution", "long_convolution", _direct),
    "h3": ("mnemic.state.h3", "diagonal_ssm", _modes),
}
FOR_SCALE = ("gated-deltanet", "mamba2", "attention")


@contextmanager
def replaced(module: str, name: str, form: Callable[..., Any]) -> Iterator[None]:
    holder = import_module(module)
    fast = getattr(holder, name)
    setattr(holder, name, form)
    try:
        yield
    finally:
        setattr(holder, name, fast)


def build(name: str) -> Mixer:
    torch.manual_seed(0)
    mixer_class: type[Mixer] = resolve(SYSTEMS[name].target)
    return mixer_class(mixer_class.config_class(width=WIDTH), 0)


def measure(name: str, seconds: float, clock: Callable[[], float]) -> dict[str, Any]:
    layer = build(name)

    def run(x: Tensor) -> Tensor:
        return layer(x, Step())

    row: dict[str, Any] = {}
    if name in NAIVE:
        module, operation, form = NAIVE[name]
        naive = training(run, NAIVE_LENGTH)

        def slow() -> None:
            with replaced(module, operation, form):
                naive()

        taken = take_turns({"ours": training(run, NAIVE_LENGTH), "naive": slow}, seconds, least=3, clock=clock)
        row["tokens_per_second_512"] = BATCH * NAIVE_LENGTH / taken["ours"]
        row["times_as_fast_as_naive_512"] = taken["naive"] / taken["ours"]
    taken = take_turns({"ours": training(run, LENGTH)}, seconds, least=3, clock=clock)
    row["tokens_per_second_2048"] = BATCH * LENGTH / taken["ours"]
    decode = decoding(layer)
    medians = take_turns({str(n): decode(n) for n in DECODE_LENGTHS}, seconds, least=30, clock=clock)
    row["decode_ms"] = {n: 1000 * s for n, s in medians.items()}
    row["memory_bytes"] = {str(n): layer.memory_bytes(n) for n in DECODE_LENGTHS}
    row["parameters"] = sum(p.numel() for p in layer.parameters())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="*", default=[*NAIVE, *FOR_SCALE], help="default: all")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each comparison takes")
    parser.add_argument("--threads", type=int, default=THREADS, help="of PyTorch; with 1, times are of the processor")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/baseline_mixers.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    here = {**machine(), "threads": options.threads, "clock": "processor" if options.threads == 1 else "wall"}
    results: dict[str, Any] = {"benchmark": "baseline_mixers", "machine": here, "systems": {}}
    if not options.json:
        print(
            f"forward and backward, batch {BATCH}, width {WIDTH}; decoding one sequence after {DECODE_LENGTHS} tokens"
        )
        print(f"{'':18}{'tokens/s':>10}{'tokens/s':>10}{'x naive':>9}  ms a token{'':17}KiB held")
        print(f"{'':18}{'T=512':>10}{'T=2048':>10}{'T=512':>9}")
    for name in options.systems:
        row = results["systems"][name] = measure(name, options.seconds, clock)
        if not options.json:
            print(_line(name, row), flush=True)
    if options.json:
        print(json.dumps(results))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "baseline_mixers.json").write_text(json.dumps(results, indent=1) + "\n")


def _line(name: str, row: dict[str, Any]) -> str:
    short = f"{row['tokens_per_second_512']:,.0f}" if "tokens_per_second_512" in row else ""
    ratio = f"{row['times_as_fast_as_naive_512']:.1f}x" if "times_as_fast_as_naive_512" in row else ""
    decode = "  ".join(f"{ms:.3f}" for ms in row["decode_ms"].values())
    held = "  ".join(f"{n / 1024:,.0f}" for n in row["memory_bytes"].values())
    return f"{name:18}{short:>10}{row['tokens_per_second_2048']:>10,.0f}{ratio:>9}  {decode:27}{held}"


if __name__ == "__main__":
    main()
