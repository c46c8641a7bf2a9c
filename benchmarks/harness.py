"""Ours beside a peer in one run: interleaved timings, peak memory in fresh processes, one results file.

A benchmark file makes `Arm`s and calls `main(name, arms)`; run it as a script. The machine is noisy, so arms take turns
and what counts is the ratio of their medians.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = 2
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import torch  # noqa: E402  # after the number of threads is set

from mnemic.modules.memory import Step  # noqa: E402
from mnemic.modules.mixer import Mixer  # noqa: E402
from mnemic.training.meter import PeakMemory  # noqa: E402

BATCH, WIDTH = 4, 256
TRAIN_LENGTHS = (512, 2048)
DECODE_LENGTHS = (512, 2048, 8192)
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Arm:
    """One implementation.

    Attributes:
        train: length -> a call that runs forward and backward once over [BATCH, length] tokens.
        decode: context length -> a call that reads one more token of one sequence with that much before it, or None.
        ours: whether ratios are taken of it against the peers.
    """

    train: Callable[[int], Callable[[], Any]]
    decode: Callable[[int], Callable[[], Any]] | None = None
    ours: bool = False


def take_turns(
    calls: Mapping[str, Callable[[], Any]],
    seconds: float = 6.0,
    least: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each call, the calls taking turns for about that long after one warm-up each.

    Every round has its own order: a call pays for the caches that the one before it left cold. For one thread,
    `time.process_time` as the clock leaves out what else the machine does.
    """
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, orders = list(calls.items()), random.Random(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < least:
        orders.shuffle(order)
        for name, call in order:
            start = clock()
            call()
            times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def decoding(layer: Mixer) -> Callable[[int], Callable[[], Any]]:
    """What `Arm.decode` wants, for one of our mixers."""

    def decode(context: int) -> Callable[[], Any]:
        memory = layer.new_memory(1, device=torch.device("cpu"), dtype=torch.float32)
        with torch.no_grad():
            layer(torch.randn(1, context, WIDTH), Step(memory=memory))
        x = torch.randn(1, 1, WIDTH)
        return torch.no_grad()(lambda: layer(x, Step(memory=memory)))

    return decode


def training(layer: Callable[[torch.Tensor], torch.Tensor], length: int) -> Callable[[], None]:
    """What `Arm.train` wants, for a layer from [BATCH, length, WIDTH] to the same."""
    x = torch.randn(BATCH, length, WIDTH, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return lambda: layer(x).sum().backward()


def main(name: str, arms: Mapping[str, Callable[[], Arm]]) -> None:
    """Run the benchmark called `name`; `arms` build lazily, so that a fresh process can build one alone."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=TRAIN_LENGTHS)
    parser.add_argument("--compile", action="store_true", help="torch.compile every arm too (minutes)")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each comparison takes")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help=f"write benchmarks/results/{name}.json")
    parser.add_argument("--peak", nargs=2, metavar=("ARM", "LENGTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.peak:
        print(_peak_here(arms[options.peak[0]](), int(options.peak[1])))
        return
    say = (lambda *_: None) if options.json else print
    built = {arm: build() for arm, build in arms.items()}
    results: dict[str, Any] = {"benchmark": name, "machine": machine(), "train": {}, "decode_ms": {}}
    for length in options.lengths:
        rows = _train(name, arms, built, length, options)
        results["train"][str(length)] = rows
        say(f"\n{name}, forward and backward, batch {BATCH}, width {WIDTH}, length {length}")
        for arm, row in rows.items():
            ratios = "  ".join(f"{r:.2f}x {peer}" for peer, r in row["times_as_fast_as"].items())
            peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f} MiB peak"
            say(f"  {arm:24} {row['tokens_per_second']:>10,.0f} tokens/s {peak:>14}   {ratios}")
    if any(arm.decode for arm in built.values()):
        results["decode_ms"] = _decode(built, options.seconds)
        say(f"\n{name}, decoding one token of one sequence, milliseconds by context")
        for arm, row in results["decode_ms"].items():
            say(f"  {arm:24} " + "  ".join(f"{context}: {ms:.3f}" for context, ms in row.items()))
    if options.json:
        print(json.dumps(results))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")


def _train(name: str, arms: Mapping[str, Any], built: Mapping[str, Arm], length: int, options: Any) -> dict[str, Any]:
    calls = {arm: made.train(length) for arm, made in built.items()}
    if options.compile:
        calls |= {f"{arm} compiled": torch.compile(made.train(length)) for arm, made in built.items()}
    seconds = take_turns(calls, options.seconds * len(calls) / 2)
    ours = {arm for arm in seconds if built[arm.removesuffix(" compiled")].ours}
    rows = {}
    for arm, taken in seconds.items():
        peers = {peer: seconds[peer] / taken for peer in seconds if peer not in ours} if arm in ours else {}
        rows[arm] = {
            "seconds": taken,
            "tokens_per_second": BATCH * length / taken,
            "peak_mib": None if arm.endswith(" compiled") else _peak_elsewhere(arm, length),
            "times_as_fast_as": peers,
        }
    return rows


def _decode(built: Mapping[str, Arm], seconds: float) -> dict[str, dict[int, float]]:
    """Milliseconds per token; all arms and contexts take turns, so that they share the machine's moods."""
    calls = {
        (arm, context): made.decode(context) for arm, made in built.items() if made.decode for context in DECODE_LENGTHS
    }
    medians = take_turns(calls, seconds * 2, least=50)
    table: dict[str, dict[int, float]] = {}
    for (arm, context), taken in medians.items():
        table.setdefault(arm, {})[context] = 1000 * taken
    return table


def _peak_elsewhere(arm: str, length: int) -> float:
    command = [sys.executable, sys.argv[0], "--peak", arm, str(length)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _peak_here(arm: Arm, length: int) -> float:
    """MiB by which two training calls raise what the process holds over what it held before the first."""
    call = arm.train(length)
    with PeakMemory(torch.device("cpu")) as meter:
        call(), call()
    return meter.bytes / 2**20


def machine() -> dict[str, Any]:
    return {"processor": platform.machine(), "cores": os.cpu_count(), "threads": THREADS, "torch": torch.__version__}
