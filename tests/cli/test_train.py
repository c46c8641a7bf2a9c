"""`mnemic train`: a YAML file in, a model that transformers loads out."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import AutoModelForCausalLM

from mnemic.cli import cli
from mnemic.cli.train import read_config
from mnemic.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
task: mqar:pairs=2,length=16,vocab=32
model: {memory: attention, width: 16, depth: 1}
training: {steps: 6, batch_size: 4, eval_rows: 4, lr: 3e-3, device: cpu}
test_rows: 8
"""


def train(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["train", *arguments], catch_exceptions=False)


@pytest.fixture
def config(tmp_path):
    def write(text: str = GOOD) -> str:
        (tmp_path / "config.yaml").write_text(text)
        return str(tmp_path / "config.yaml")

    return write


def test_it_trains_and_leaves_a_model_for_transformers(config, tmp_path):
    out = tmp_path / "out"
    result = train(config(), "--output", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    run = json.loads(result.stdout)
    assert run["memory"] == "attention"
    assert run["lr"] == 0.003
    assert (out / "report.html").exists()
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    assert model(input_ids=torch.zeros(1, 4, dtype=torch.int64)).logits.shape == (1, 4, 32)

    again = train(config(), "--output", str(out))
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    resumed = train(config(), "--output", str(out), "--json", "--resume")
    assert json.loads(resumed.stdout) == run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("training:", "trainign:"), "there is no section 'trainign'; did you mean 'training'?"),
        (GOOD.replace("steps", "stpes"), "training: unknown option 'stpes'; did you mean 'steps'"),
        (GOOD.replace("width", "wdith"), "model: unknown option 'wdith'"),
        (GOOD.replace("steps: 6", "steps: many"), "training: steps=many: must be a valid integer"),
        (GOOD.replace("memory: attention", "memory: atention"), "unknown memory 'atention'; did you mean 'attention'"),
        (GOOD.replace("memory: attention, ", ""), "model needs either 'memory'"),
        (GOOD.replace("memory: attention", "layers: attention"), "model.layers must be a list"),
        (GOOD.replace("task: mqar", "task: mqra"), "unknown task 'mqra'"),
        (GOOD.replace("task: mqar:pairs=2,length=16,vocab=32", "task: {nmae: mqar}"), "task is {'nmae': 'mqar'}"),
        (GOOD.replace("test_rows: 8", "test_rows: none"), "test_rows is 'none'"),
        ("just text", "must hold the sections"),
        ("task: [", "cannot read"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(config, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    result = train(config(text))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_missing_file_and_unwritable_folder_are_wrong_use(config):
    assert "there is no file 'nothing.yaml'" in train("nothing.yaml").stderr
    result = train(config(), "--output", "/dev/null/out")
    assert result.exit_code == 2
    assert "cannot write to the folder" in result.stderr


def test_layers_may_be_written_out(config):
    text = GOOD.replace("memory: attention", "layers: [{mixer: mamba2, state: 8}, {mixer: attention, conv_size: 0}]")
    spec, _ = read_config(Path(config(text.replace(", depth: 1", ""))))
    assert spec.memory == "mamba2+attention"
    assert [(layer["mixer"], layer["conv_size"]) for layer in spec.model.layers] == [("mamba2", 4), ("attention", 0)]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_right(path):
    spec, output = read_config(path)
    spec.check()
    assert output is not None


def test_unreadable_yaml_value_raises_usage_error(config):
    with pytest.raises(UsageError, match="must be a mapping"):
        read_config(Path(config(GOOD.replace("model: {memory: attention, width: 16, depth: 1}", "model: 3"))))
