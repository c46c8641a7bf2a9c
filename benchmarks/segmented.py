"""Segmented summarisation over 100k tokens on our Mamba-2: segments in batches beside one at a time, and peak memory.

A random model, so that every segment is noted and every note has its full length; what is timed is reading and writing.
"""

import argparse
import json
import statistics
import subprocess
import sys
from functools import partial
from typing import Any

import torch

from harness import RESULTS, THREADS, machine
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.rwr.completion import Speed
from mnemic.teaching.rwr.segment_forms import TokenForm
from mnemic.teaching.rwr.segmented import SegmentOptions, segmented_answers
from mnemic.training.meter import PeakMemory

VOCABULARY, WIDTH, LAYERS = 512, 64, 2
SEGMENT, NOTE, KEPT, ANSWER, BATCH = 256, 16, 8, 16, 32
LENGTH, LENGTHS = 100_000, (10_000, 30_000, 100_000)
BAR = 3.0
FORM = TokenForm(
    make_note_prompt=lambda part, query: [*part, *query, 1],
    make_answer_prompt=lambda notes, query: [*notes, *query, 2],
    read_note=lambda written: written[:KEPT],
    note_ends=(),
    answer_ends=(),
    unanswerable=(),
)


def model() -> Any:
    torch.manual_seed(0)
    return MnemicForCausalLM(MnemicConfig(VOCABULARY, WIDTH, LAYERS, layers=[{"mixer": "mamba2"}])).eval()


def answer(made: Any, length: int, batch_size: int) -> tuple[float, Speed]:
    """Seconds of one question on one context, and what they went to."""
    context = torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(0)).tolist()
    options = SegmentOptions(
        training_tokens=length, segment_tokens=SEGMENT, note_tokens=NOTE, answer_tokens=ANSWER, batch_size=batch_size
    )
    speed = Speed()
    result = segmented_answers(made, FORM, [context], [[3, 4]], options, speed=speed)[0]
    assert result.segments == -(-length // SEGMENT)
    return result.seconds, speed


def measure(length: int, repeats: int, say: Any) -> dict[str, Any]:
    made, arms = model(), {"batched": BATCH, "one at a time": 1}
    for size in arms.values():
        answer(made, 4 * SEGMENT, size)
    runs: dict[str, list[tuple[float, Speed]]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, size in arms.items():
            runs[name].append(answer(made, length, size))
    found = {}
    say(f"{length:,} tokens in segments of {SEGMENT}, notes of {NOTE}, batches of {BATCH}, {THREADS} threads")
    for name, taken in runs.items():
        found[name] = {
            "seconds": statistics.median(seconds for seconds, _ in taken),
            "prefill_seconds": statistics.median(speed.prefill_seconds for _, speed in taken),
            "decode_seconds": statistics.median(speed.decode_seconds for _, speed in taken),
            "prefill_tokens": taken[0][1].prefill_tokens,
            "decode_tokens": taken[0][1].decode_tokens,
        }
        one = found[name]
        say(
            f"  {name:14} {one['seconds']:>6.2f} s: {one['prefill_seconds']:.2f} s to read {one['prefill_tokens']:,} "
            f"tokens, {one['decode_seconds']:.2f} s to write {one['decode_tokens']:,}"
        )
    ratio = {part: found["one at a time"][part] / found["batched"][part] for part in ("seconds", "prefill_seconds",
                                                                                      "decode_seconds")}  # fmt: skip
    say(
        f"  batched is {ratio['seconds']:.2f}x as fast (bar {BAR}x): {ratio['prefill_seconds']:.2f}x in reading, "
        f"{ratio['decode_seconds']:.2f}x in writing"
    )
    return {"length": length, "arms": found, "times_as_fast": ratio}


def peak(length: int) -> float:
    """MiB by which answering raises what a fresh process holds, after a short question has warmed it up."""
    made = model()
    answer(made, 2 * BATCH * SEGMENT, BATCH)
    with PeakMemory(torch.device("cpu")) as meter:
        answer(made, length, BATCH)
    return meter.bytes / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--repeats", type=int, default=3, help="turns of each arm, after one that warms up")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/segmented.json")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.peak:
        print(peak(options.peak))
        return
    say = (lambda *_: None) if options.json else partial(print, flush=True)
    results: dict[str, Any] = {"benchmark": "segmented", "machine": machine()}
    results |= measure(options.length, options.repeats, say)
    results["peak_mib"] = {}
    for length in LENGTHS:
        command = [sys.executable, sys.argv[0], "--peak", str(length)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results["peak_mib"][length] = float(done.stdout.split()[-1])
        say(f"  {length:>7,} tokens: {results['peak_mib'][length]:.1f} MiB more than before at the peak")
    if options.json:
        print(json.dumps(results))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "segmented.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
