"""Training by torchrun in two processes, with copies or with shards of the weights, equals training in one."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from mnemic.report.records import read_records
from mnemic.training.checkpoint import checkpoints

CONFIG = """
task: mqar:pairs=2,length=16,vocab=32
model: {memory: attention, width: 16, depth: 1}
training: {steps: 8, batch_size: 8, accumulation: 2, eval_every: 4, eval_rows: 8, lr: 0.003, device: cpu}
test_rows: 8
"""

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

folder, shard, stop = Path(sys.argv[1]), sys.argv[2] == "shard", int(sys.argv[3])
torch.set_num_threads(1)
torch.manual_seed(0)
tied = MnemicConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2, layers=[{"mixer": "attention"}])
config = TrainConfig(
    steps=12, batch_size=8, accumulation=2, eval_every=3, eval_rows=16, warmup=0, device="cpu", shard=shard,
    checkpoint_every=5, checkpointing=shard,
)
steps = iter(range(1, 100))
try:
    found = train(
        MnemicForCausalLM(tied), parse_task("mqar:pairs=2,length=16,vocab=32"), config, folder, resume=True,
        keep_best=True, should_stop=lambda: next(steps) == stop,
    )
except Interrupted:
    sys.exit()
if os.environ.get("RANK", "0") == "0":
    print(json.dumps([[point["train_loss"], point["valid_loss"]] for point in found.curve]))
"""


def curve(folder, start, shard="copies", stop=0):
    """The losses of a run, or of the part up to a stop nothing."""
    command = [*start, str(folder.parent / "script.py"), str(folder), shard, str(stop)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return torch.tensor(json.loads(done.stdout)) if done.stdout.strip() else None


@pytest.mark.slow
def test_shards_and_copies_and_one_process_learn_the_same_and_read_each_others_checkpoints(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    one = [sys.executable]
    alone = curve(tmp_path / "alone", one)
    assert alone.shape == (4, 2)
    torch.testing.assert_close(curve(tmp_path / "copies", LAUNCH), alone, rtol=0, atol=1e-5)
    assert curve(tmp_path / "down", LAUNCH, "shard", stop=7) is None
    torch.testing.assert_close(curve(tmp_path / "down", one), alone, rtol=0, atol=1e-5)
    assert curve(tmp_path / "up", one, stop=7) is None
    torch.testing.assert_close(curve(tmp_path / "up", LAUNCH, "shard"), alone, rtol=0, atol=1e-5)
    files = [checkpoints(tmp_path / name / "checkpoints")[-1] / "model.safetensors" for name in ("alone", "up")]
    whole, gathered = map(load_file, files)
    assert whole.keys() ^ gathered.keys() == {"lm_head.weight", "model.embed_tokens.weight"}  # tied: kept by one name
    for name in whole.keys() & gathered.keys():
        torch.testing.assert_close(gathered[name], whole[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    commands = {"one": [sys.executable], "two": LAUNCH}
    for name, start in commands.items():
        command = [*start, "-m", "mnemic", "train", str(tmp_path / "config.yaml"), "--output", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in commands)
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)
    (record,) = read_records(tmp_path / "two" / "results.jsonl")
    assert record.metrics["loss"] == pytest.approx(
        read_records(tmp_path / "one" / "results.jsonl")[0].metrics["loss"], rel=1e-4
    )
