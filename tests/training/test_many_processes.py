"""Training by torchrun in two processes equals training in one."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from mnemic.report.records import read_records

CONFIG = """
task: mqar:pairs=2,length=16,vocab=32
model: {memory: attention, width: 16, depth: 1}
training: {steps: 8, batch_size: 8, accumulation: 2, eval_every: 4, eval_rows: 8, lr: 0.003, device: cpu}
test_rows: 8
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    commands = {"one": [sys.executable], "two": launch}
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
