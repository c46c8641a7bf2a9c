"""Decoding with eviction beside full attention, all on the very same traces: transformers' cache, and one set aside.

Random models with the proportions of Qwen3-0.6B (heads twice as wide together as the model, half as many key heads,
feed-forward 3x), batch 8, 16 rounds.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

from harness import RESULTS, THREADS, machine
from mnemic.teaching.memento.measuring import ArmSpeed, Shape, kv_bytes_per_token, throughput
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

BATCH, ROUNDS, PROMPT, WIDTH, VOCABULARY = 8, 16, 16, 256, 512
MARKERS = MarkerIds(1, 2, 3, 4)
BARS = {"full, transformers": 3.0, "full, set aside": 1.3}
EVICTION_BAR = 0.05


@dataclass(frozen=True)
class Case:
    layers: int
    block: int
    memento: int

    @property
    def name(self) -> str:
        return f"{self.layers} layers, blocks of {self.block}, mementos of {self.memento}"

    @property
    def shape(self) -> Shape:
        return Shape(PROMPT, ROUNDS, self.block, self.memento)

    def model(self) -> Any:
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=self.layers,
            num_attention_heads=4, num_key_value_heads=2, head_dim=128, max_position_embeddings=8192,
            tie_word_embeddings=True,
        )  # fmt: skip
        return Qwen3ForCausalLM(config).eval()


CASES = {"small": Case(2, 64, 8), "large": Case(4, 128, 16)}


def measure(case: Case, repeats: int, say: Any) -> dict[str, Any]:
    model = case.model()
    prompts, continuations = case.shape.traces(MARKERS, VOCABULARY, BATCH, seed=0)
    arms = throughput(model, prompts, continuations, rules=MementoRules(), markers=MARKERS, repeats=repeats)
    evicting = arms["evicting"]
    say(f"\n{case.name}: batch {BATCH}, {ROUNDS} rounds, {kv_bytes_per_token(model.config).per_token} bytes a token")
    for name, arm in arms.items():
        held = f"{arm.tokens_per_second:>8,.0f} tokens/s  peak {arm.peak_tokens:>5,} tokens"
        say(f"  {name:20} {held}{_beside(name, arm, evicting)}")
    share = evicting.eviction_share
    say(f"  eviction took {share:.1%} of the time (bar: less than {EVICTION_BAR:.0%})")
    return {
        "arms": {name: asdict(arm) for name, arm in arms.items()},
        "times_as_fast_as": {name: evicting.tokens_per_second / arms[name].tokens_per_second for name in BARS},
        "peak_closed_form": case.shape.evicting_peak(),
        "eviction_share": share,
    }


def _beside(name: str, arm: ArmSpeed, evicting: ArmSpeed) -> str:
    if name not in BARS:
        return ""
    ratio, less = evicting.tokens_per_second / arm.tokens_per_second, arm.peak_tokens / evicting.peak_tokens
    return f"  evicting is {ratio:.2f}x as fast (bar {BARS[name]}x) with {less:.1f}x less at its peak"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5, help="turns of each arm, after one that warms up")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/memento.json")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    logging.set_verbosity_error()
    say = (lambda *_: None) if options.json else print
    cases = {name: measure(CASES[name], options.repeats, say) for name in options.cases}
    results = {"benchmark": "memento", "machine": machine(), "cases": cases}
    if options.json:
        print(json.dumps(results))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "memento.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
