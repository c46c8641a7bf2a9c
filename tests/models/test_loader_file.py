"""A process that never imports mnemic loads a checkpoint of the host, and what it saves is again such a checkpoint."""

import json
import os
import subprocess
import sys

import pytest
import torch
from tiny_hosts import tiny_host
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from mnemic.models import MnemicConfig, MnemicForCausalLM, MnemicModel

ALONE = """
import sys
import torch
from transformers import AutoModelForCausalLM
assert "mnemic" not in sys.modules
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=sys.argv[2] == "trusted")
ids = torch.arange(1, 9)[None]
mask = torch.ones_like(ids)
torch.save(model.generate(ids, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0), sys.argv[3])
"""


def alone(folder, trust: str, result, cache) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", ALONE, str(folder), trust, str(result)]
    environment = {**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_process_without_mnemic_loads_it_when_told_to_trust_it(tmp_path):
    host = tiny_host("mamba2+attention", 40).eval()
    host.save_pretrained(tmp_path / "host")
    done = alone(tmp_path / "host", "trusted", tmp_path / "said.pt", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    ids = torch.arange(1, 9)[None]
    mask = torch.ones_like(ids)
    wanted = host.generate(ids, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0)
    assert torch.equal(torch.load(tmp_path / "said.pt"), wanted)
    refused = alone(tmp_path / "host", "untrusted", tmp_path / "said.pt", tmp_path / "cache")
    assert refused.returncode == 1
    assert "trust_remote_code=True" in refused.stderr


@pytest.mark.parametrize("trust", [True, False, None])
def test_there_is_one_definition_however_it_is_loaded(tmp_path, monkeypatch, trust):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    tiny_host("mamba2", 40).save_pretrained(tmp_path / "first")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "first", trust_remote_code=trust)
    assert type(loaded) is MnemicForCausalLM
    assert type(AutoModel.from_pretrained(tmp_path / "first", trust_remote_code=trust)) is MnemicModel
    assert type(AutoConfig.from_pretrained(tmp_path / "first", trust_remote_code=trust)) is MnemicConfig
    loaded.save_pretrained(tmp_path / "second")
    assert {path.name for path in (tmp_path / "second").glob("*.py")} == {"load_mnemic.py"}
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "second")]
    assert configs[0]["auto_map"] == configs[1]["auto_map"]
    assert configs[0]["layers"] == configs[1]["layers"]
