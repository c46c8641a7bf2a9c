"""Runs as they come out of a comparison, made up from smooth curves and a fixed seed."""

import numpy as np
import pytest

from mnemic.report.records import Record

ANSWERS = {  # memory -> accuracy, learning rate, bytes per sequence, parameters, tokens/s reading, training, writing
    "attention": (0.992, 3e-3, 65536, 135552, 96000, 31000, 520),
    "sliding-window": (0.412, 3e-3, 16384, 135552, 101000, 33500, 610),
    "mamba2": (0.941, 5e-3, 37376, 141824, 61000, 17400, 830),
    "gated-deltanet": (0.986, 3e-3, 36864, 144400, 43000, 12900, 700),
}
TEXT = {
    "attention": (1.71, 0.92),
    "sliding-window": (1.83, 1.35),
    "mamba2": (1.74, 1.08),
    "gated-deltanet": (1.725, 1.0),
}
PLACES = {"attention": "context", "sliding-window": "context", "mamba2": "state", "gated-deltanet": "state"}


def around(value, width, top=1.0):
    return {"low": round(max(value - width, 0), 4), "high": round(min(value + width * 0.8, top), 4)}


def shared(memory, seed, lr, cost, length):
    _, _, nbytes, parameters, reading, training, writing = cost
    grows = memory == "attention"
    return {
        "schema": 1,
        "purpose": "final",
        "status": "done",
        "error": None,
        "memory": memory,
        "places": [PLACES[memory]],
        "layers": [{"mixer": memory, "heads": 4, "conv_size": 4}] * 2,
        "seed": seed,
        "lr": lr,
        "shell": {"width": 64, "depth": 2, "feed_forward": 256, "conv_size": 4, "init": "small", "tied": True},
        "lr_grid": [0.001, 0.003, 0.005],
        "lr_on_edge": lr == 5e-3,
        "training": {"steps": 500, "batch_size": 64, "weight_decay": 0.1, "warmup": 50, "clip": 1.0},
        "cost": {
            "parameters": parameters,
            "memory_bytes": nbytes,
            "memory_bytes_at": {str(t): nbytes * t // length if grows else nbytes for t in (64, 256, 1024, 4096)},
            "train_seconds": 500 * 64 * length / training,
            "train_tokens_per_second": training,
            "tokens_per_second": reading,
            "decode_tokens_per_second": writing,
            "peak_memory_bytes": 610_000_000 + parameters * 90,
        },
        "versions": {"mnemic": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0"},
        "commit": "e3147fa",
        "hardware": {"cpu": "Some CPU @ 2.5 GHz", "cores": 2, "memory_gib": 15.6, "device": "cpu", "threads": 1},
        "started": "2026-01-05T10:00:00+00:00",
        "finished": "2026-01-05T10:01:10+00:00",
    }


def recall_run(memory, seed):
    accuracy, lr, *_ = cost = ANSWERS[memory]
    g = np.random.default_rng(seed)
    accuracy = float(np.clip(accuracy + g.normal() * 0.004, 0, 1))
    fade = {"attention": 0.0, "gated-deltanet": 0.02, "mamba2": 0.08, "sliding-window": 0.5}[memory]
    loads = [round(float(np.clip(accuracy + 0.05 - fade * i / 4, 0, 1)), 4) for i in range(4)]
    steps = range(50, 501, 50)
    learned = [float(accuracy / (1 + np.exp(-(s - 190 - 40 * fade * 10) / 35))) for s in steps]
    lengths = [float(np.clip(accuracy - fade * i * 1.4, 0.01, 1)) for i in range(4)]
    return {
        **shared(memory, seed, lr, cost, 64),
        "run": f"a{list(ANSWERS).index(memory):03d}{seed:08x}",
        "task": "mqar:length=64,vocab=256",
        "task_config": {"pairs": 8, "length": 64, "vocab": 256, "form": "zoology"},
        "information_bits": 56.0,
        "chance": 1 / 128,
        "metrics": {
            "accuracy": accuracy,
            **{f"accuracy_{k}": v for k, v in around(accuracy, 0.008).items()},
            "row_accuracy": accuracy**4,
            "loss": -np.log(accuracy) * 1.2,
        },
        "slices": {
            "distance": [
                {"value": v, "count": n, "accuracy": a, "loss": 1 - a, **around(a, 0.015)}
                for v, n, a in zip(
                    ["1-16", "17-32", "33-64"], [6000, 1500, 500], [loads[0], loads[1], loads[3]], strict=True
                )
            ],
            "load": [
                {"value": v, "count": 2000, "accuracy": a, "loss": 1 - a, **around(a, 0.012)}
                for v, a in zip([2, 4, 6, 8], loads, strict=True)
            ],
        },
        "lengths": [{"length": 64 * 2**i, "accuracy": a, **around(a, 0.015)} for i, a in enumerate(lengths)],
        "curve": [
            {
                "step": s,
                "train_loss": 4.8 * (1 - a),
                "valid_loss": 4.9 * (1 - a),
                "valid_accuracy": a,
                "seconds": s * 0.07,
            }
            for s, a in zip(steps, learned, strict=True)
        ],
        "example": "k41 v203 k7 v166 k90 v131 · · k7 →v166 · k41 →v203",
        "command": "mnemic compare mqar:length=64,vocab=256 attention sliding-window mamba2 gated-deltanet --seeds 3",
    }


def text_run(memory, seed):
    loss, hit = TEXT[memory]
    share, g = 0.113, np.random.default_rng(seed)
    loss, hit = loss + g.normal() * 0.006, hit + g.normal() * 0.012
    other = (loss - share * hit) / (1 - share)
    steps = range(100, 801, 100)
    return {
        **shared(memory, seed, 3e-3, ANSWERS[memory], 256),
        "run": f"b{list(TEXT).index(memory):03d}{seed:08x}",
        "task": "text:topics.txt,length=256",
        "task_config": {"path": "topics.txt", "length": 256},
        "information_bits": None,
        "chance": None,
        "metrics": {
            "loss": loss,
            "loss_low": loss - 0.02,
            "loss_high": loss + 0.02,
            "recall_hit_loss": hit,
            "recall_hit_loss_low": hit - 0.04,
            "recall_hit_loss_high": hit + 0.04,
            "other_loss": other,
            "recall_hit_share": share,
            "bits_per_byte": loss / np.log(2),
        },
        "slices": {
            "recall_hit": [
                {"value": "0", "count": 22000, "loss": other, **around(other, 0.02, 9)},
                {"value": "1", "count": 2800, "loss": hit, **around(hit, 0.05, 9)},
            ],
            "distance": [
                {"value": v, "count": 700, "loss": hit * f, **around(hit * f, 0.06, 9)}
                for v, f in zip(["1-16", "17-64", "65-256"], [0.8, 0.95, 1.25], strict=True)
            ],
        },
        "lengths": [],
        "curve": [
            {
                "step": s,
                "train_loss": loss + 3 * np.exp(-s / 150),
                "valid_loss": loss + 3.1 * np.exp(-s / 150),
                "seconds": s * 0.2,
            }
            for s in steps
        ],
        "example": "The following sections describe the standard types that are built into the interpreter.",
        "command": "mnemic compare text:topics.txt,length=256 attention sliding-window mamba2 gated-deltanet",
    }


@pytest.fixture(scope="session")
def recall_records():
    return [Record.model_validate(recall_run(memory, seed)) for memory in ANSWERS for seed in range(3)]


@pytest.fixture(scope="session")
def text_records():
    return [Record.model_validate(text_run(memory, 0)) for memory in TEXT]


@pytest.fixture(scope="session")
def failed_record():
    failure = {
        "run": "f00",
        "status": "failed",
        "error": "loss became NaN at step 120\nin layer 1",
        "metrics": {},
        "slices": {},
    }
    return Record.model_validate({**recall_run("mamba2", 7), "curve": [], "lengths": [], "cost": {}, **failure})


@pytest.fixture(scope="session")
def make_record():
    def make(like="mamba2", seed=0, kind="recall", /, **changes):
        data = recall_run(like, seed) if kind == "recall" else text_run(like, seed)
        return Record.model_validate({**data, **changes})

    return make
