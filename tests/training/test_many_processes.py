"""Training by torchrun in two processes, with copies or with shards of the weights, equals training in one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mnemic.report.records import read_records
from mnemic.training.checkpoint import checkpoints

MEMORIES = ("attention", "mamba2", "gated-deltanet", "streamed")
PARTS = ("model", "optimizer")
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.tasks import parse_task
from mnemic.training.config import TrainConfig
from mnemic.training.loop import train
from mnemic.training.progress import Interrupted

torch.set_num_threads(1)
here = Path(sys.argv[1])
curves = {}
for job in sys.argv[2:]:
    folder, memory, mode, stop = job.split(",")
    is_streamed = memory == "streamed"
    torch.manual_seed(0)
    mixer = {"mixer": "attention" if is_streamed else memory}
    task = f"text:{here}/text.parquet,length=16" if is_streamed else "mqar:pairs=2,length=16,vocab=32"
    model = MnemicForCausalLM(
        MnemicConfig(vocab_size=256 if is_streamed else 32, hidden_size=16, num_hidden_layers=2, layers=[mixer])
    )
    config = TrainConfig(
        steps=12, batch_size=8, accumulation=2, eval_every=3, eval_rows=16, warmup=0, device="cpu",
        shard=mode == "shard", checkpoint_every=5, checkpointing=mode == "shard", precision="fp32",
    )
    steps = iter(range(1, 100))
    try:
        found = train(
            model, parse_task(task), config, here / folder / memory, resume=True, keep_best=True,
            should_stop=lambda: next(steps) == int(stop),
        )
    except Interrupted:
        continue
    curves[f"{folder}/{memory}"] = [[point["train_loss"], point["valid_loss"]] for point in found.curve]
if os.environ.get("RANK", "0") == "0":
    print(json.dumps(curves))
"""


def trained(start: list[str], here: Path, jobs: dict[str, tuple[str, int]]) -> dict[str, torch.Tensor]:
    """The curves of every folder and memory that was not stopped; jobs: folder -> (mode, step to stop at or 0)."""
    named = [f"{folder},{memory},{mode},{stop}" for folder, (mode, stop) in jobs.items() for memory in MEMORIES]
    done = subprocess.run(
        [*start, str(here / "script.py"), str(here), *named], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return {name: torch.tensor(curve) for name, curve in json.loads(done.stdout.splitlines()[-1]).items()}


def newest(folder: Path, file: str) -> Path:
    return checkpoints(folder / "checkpoints")[-1] / file


@pytest.fixture
def here(tmp_path):
    import pyarrow
    import pyarrow.parquet

    texts = [f"line {n} says {n * n} and {n * 7919 % 1000} " * (1 + n % 3) for n in range(300)]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "text.parquet", row_group_size=40)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


@pytest.mark.slow
def test_shards_and_copies_and_one_process_learn_the_same_and_read_each_others_checkpoints(here):
    one = trained(
        [sys.executable], here, {"alone": ("copies", 0), "up-copies": ("copies", 7), "up-shard": ("copies", 7)}
    )
    at_7 = {
        memory: [
            load_file(newest(here / "up-shard" / memory, f"{part}.safetensors")) for part in ("model", "optimizer")
        ]
        for memory in MEMORIES
    }
    state_at_7 = {
        memory: json.loads(newest(here / "up-shard" / memory, "state.json").read_text())["state"] for memory in MEMORIES
    }
    two = {
        "copies": ("copies", 0), "shard": ("shard", 0), "down-copies": ("copies", 7), "down-shard": ("shard", 7),
        "up-copies": ("copies", 0), "up-shard": ("shard", 0),
    }  # fmt: skip
    both = trained(LAUNCH, here, two)
    for memory in MEMORIES:
        for folder in ("down-copies", "down-shard"):
            state = json.loads(newest(here / folder / memory, "state.json").read_text())["state"]
            for name in ("step", "position", "stream", "fingerprint"):
                assert state[name] == state_at_7[memory][name], (folder, memory, name)
            assert bool(state["stream"]) == (memory == "streamed")
            for part, wanted in zip(PARTS, at_7[memory], strict=True):
                found = load_file(newest(here / folder / memory, f"{part}.safetensors"))
                assert len(found.keys() & wanted.keys()) >= len(wanted) - 1  # tied weights are kept by one name
                for name in found.keys() & wanted.keys():
                    torch.testing.assert_close(found[name], wanted[name], rtol=1e-3, atol=1e-6)
    back = trained([sys.executable], here, {"down-copies": ("copies", 0), "down-shard": ("copies", 0)})
    for memory in MEMORIES:
        alone = one[f"alone/{memory}"]
        assert alone.shape == (4, 2)
        for name, curve in {**both, **back}.items():
            if name.endswith(f"/{memory}"):
                torch.testing.assert_close(curve, alone, rtol=0, atol=1e-5, msg=lambda said, n=name: f"{n}: {said}")
    assert len(both) == 4 * len(MEMORIES)
    assert len(back) == 2 * len(MEMORIES)


CONFIG = """
task: mqar:pairs=2,length=16,vocab=32
model: {memory: attention, width: 16, depth: 1}
training: {steps: 8, batch_size: 8, accumulation: 2, eval_every: 4, eval_rows: 8, lr: 0.003, device: cpu, shard: SHARD}
test_rows: 8
"""


@pytest.mark.slow
def test_mnemic_train_by_torchrun_and_by_accelerate_equals_one_process(tmp_path):
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    commands = {"one": [sys.executable], "torchrun": LAUNCH, "accelerate": [*accelerate, "--mixed_precision", "no"]}
    for name, start in commands.items():
        config = tmp_path / f"{name}.yaml"
        config.write_text(CONFIG.replace("SHARD", str(name == "torchrun").lower()))
        command = [*start, "-m", "mnemic", "train", str(config), "--output", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, *others = (load_file(tmp_path / name / "model" / "model.safetensors") for name in commands)
    for other in others:
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)
    losses = [read_records(tmp_path / name / "results.jsonl")[0].metrics["loss"] for name in commands]
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-4)
