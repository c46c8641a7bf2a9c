"""The models of the Zoology study: claims A to D at laptop scale, and the figure's grid at GPU scale."""

from pathlib import Path
from typing import Any

from mnemic.catalogue import SYSTEMS
from mnemic.studies.base import Arm
from mnemic.studies.people_text import write_people_text
from mnemic.tasks.mqar import MQAR
from mnemic.tasks.text import TextTask
from mnemic.training.config import TrainConfig
from mnemic.training.shell import Shell

__all__ = [
    "ATTENTION",
    "BASE_CONV_3",
    "BASE_CONV_LONG",
    "GPU_WIDTHS",
    "LENGTH",
    "LOADS",
    "PAIRS",
    "RECALL",
    "WIDTHS",
    "Layers",
    "gpu_arms",
    "people_task",
    "recall_arm",
    "recall_arms",
]

Layers = tuple[dict[str, Any], ...]

PAIRS, LENGTH, VOCAB = 8, 64, 256  # of the paper's 8192 ids: with all of them a laptop would spend its time on the head
RECALL = MQAR(pairs=PAIRS, length=LENGTH, vocab=VOCAB)
WIDTHS, GPU_WIDTHS = (16, 32, 64), (64, 128, 256, 512)
LOADS = (4, 8, 16, 32)
QUESTIONS_PER_STEP = 512

BASE_CONV_3: dict[str, Any] = {"mixer": "base-conv", "kernel": 3}
BASE_CONV_LONG: dict[str, Any] = {"mixer": "base-conv", "kernel": "long", "length": LENGTH}
ATTENTION: dict[str, Any] = {"mixer": "attention", "heads": 1, "rope": False}  # no positions behind a convolution


def recall_arms(seed: int, directory: Path) -> dict[str, Arm]:
    """The models of claims A to D. `directory` takes the generated text.

    The learning rates were chosen for each arm by validation rows of seed 7000, from 1e-3, 3e-3 and 1e-2; the fastest
    was best for every one. `mnemic reproduce zoology --search` chooses them again.
    """
    arms: dict[str, Arm] = {}
    for width in WIDTHS:
        arms[f"A attention {width}"] = recall_arm("BaseConv-3, attention", (BASE_CONV_3, ATTENTION), width)
        arms[f"A long {width}"] = recall_arm("BaseConv-3, BaseConv-long", (BASE_CONV_3, BASE_CONV_LONG), width)
    arms["A attention alone"] = recall_arm("attention, attention", ({**ATTENTION, "rope": True},), 32)
    arms["A long alone"] = recall_arm("BaseConv-long, BaseConv-long", (BASE_CONV_LONG,), 32)
    repeated = {**ATTENTION, "mixer": "repeated-token-attention", "ignored": 0}  # 0 is the filler between questions
    arms["D"] = recall_arm("BaseConv-3, repeated-token attention", (BASE_CONV_3, repeated), 32)
    text = people_task(seed, directory)
    training = TrainConfig(steps=400, batch_size=32, lr=1e-2, checkpoint_every=400)
    for key, layers in (("attention", (BASE_CONV_3, ATTENTION)), ("short", (BASE_CONV_3,))):
        label = "BaseConv-3, attention" if key == "attention" else "BaseConv-3, BaseConv-3"
        arms[f"C {key}"] = Arm(label, text, layers, training, Shell(width=64, feed_forward=0, conv=None))
    for load in LOADS:
        arms[f"B attention {load}"] = _under_load("attention", load, {**ATTENTION, "conv_size": 4})
        small = {"mixer": "gated-deltanet", "heads": 1, "head_width": 16, "conv_size": 4}
        arms[f"B state {load}"] = _under_load("Gated DeltaNet, state 16 × 32", load, small)
    return arms


def recall_arm(label: str, layers: Layers, width: int, steps: int = 1200) -> Arm:
    """A model of `width` on `RECALL`."""
    return Arm(label, RECALL, layers, _training(steps, PAIRS), Shell(width=width, feed_forward=0, conv=None))


def people_task(seed: int, directory: Path) -> TextTask:
    """The generated text of claim C, written into `directory`."""
    folder, tokenizer = write_people_text(directory / f"text-seed{seed}", seed)
    return TextTask(path=str(folder), tokenizer=str(tokenizer), length=128)


def gpu_arms() -> dict[str, Arm]:
    """The figure of accuracy against width at one rate of its grid: N = 256, D = 16, C = 8192, all mixers.

    Every mixer of the catalogue stands behind the same BaseConv-3, with the options below or its own defaults.
    """
    options: dict[str, dict[str, Any]] = {
        "attention": {"heads": 1, "rope": False},
        "repeated-token-attention": {"heads": 1, "rope": False, "ignored": 0},
        "sliding-window": {"heads": 1, "window": 64},
        "base-conv": {"kernel": "long", "length": 256},
        "hyena": {"length": 256},
        "based": {"window": 0},  # as in the paper, whose window stands in language models only
    }
    task = MQAR(pairs=16, length=256, vocab=8192)
    training = TrainConfig(steps=2500, batch_size=256, lr=2.2e-3, eval_every=100, stop_at=0.99)
    mixers = [name for name, system in SYSTEMS.items() if system.place in ("state", "context")]
    arms: dict[str, Arm] = {}
    for name in mixers:
        for width in GPU_WIDTHS:
            layers = (BASE_CONV_3, {"mixer": name, **options.get(name, {})})
            shell = Shell(width=width, feed_forward=0, conv=None)
            arms[f"{name} {width}"] = Arm(f"BaseConv-3, {name}", task, layers, training, shell, (training.lr,))
    return arms


def _under_load(label: str, pairs: int, layer: dict[str, Any]) -> Arm:
    """The same model at every load."""
    task = MQAR(pairs=pairs, length=4 * pairs + 32, vocab=VOCAB)
    return Arm(label, task, (layer,), _training(2500, pairs), Shell(width=64, feed_forward=0, conv=None))


def _training(steps: int, pairs: int) -> TrainConfig:
    """A step asks as many questions at every load."""
    batch_size = QUESTIONS_PER_STEP // pairs
    return TrainConfig(steps=steps, batch_size=batch_size, lr=1e-2, stop_at=0.99, checkpoint_every=steps // 4)
