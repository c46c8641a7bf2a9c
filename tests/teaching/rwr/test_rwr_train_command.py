"""`mnemic teach rwr train` as a user runs it, what those who ask its model know of it, and how wrong input is named."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_text import VOCABULARY, byte_tokenizer
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from mnemic.cli import cli
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.report.records import read_records
from mnemic.teaching.rwr.rwr_file import read_recall_file

QUICK = ("--device", "cpu", "--steps", 1, "--batch-size", 2, "--rows-at-once", 2)


def mnemic(*arguments: Any, code: int = 0) -> Any:
    done = CliRunner().invoke(cli, ["teach", "rwr", *map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> Path:
    """A folder with a small model and the rows of some histories."""
    folder = tmp_path_factory.mktemp("rwr")
    torch.manual_seed(0)
    layers = [{"mixer": "mamba2", "head_width": 8, "state": 8}]
    MnemicForCausalLM(MnemicConfig(VOCABULARY, 16, 1, layers=layers)).save_pretrained(folder / "small")
    byte_tokenizer().save_pretrained(folder / "small")
    source = "histories:count=4,tokens=100,questions=2"
    mnemic("build", source, "--teacher", "oracle", "--output", folder / "data")
    return folder


@pytest.fixture(scope="module")
def taught(made: Path) -> Path:
    options = ("--query-position", "before", "--max-length", 3000, "--lora", 2, "--lora-targets", "all-linear")
    said = mnemic("train", made / "data/recall.jsonl", "--model", made / "small", "--output", made / "run",
                  *QUICK, *options, "--json")  # fmt: skip
    found = json.loads(said.stdout)
    assert [stage["name"] for stage in found["stages"]] == ["1-mixed"]
    assert "summary+answer" in said.stderr
    return made / "run"


def test_options_of_a_file_give_way_to_those_of_the_command(made: Path, tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text("lr: 0.001\nmax_length: 2000\nlora: {rank: 3, alpha: 6}\ntarget: summary\n")
    mnemic("train", made / "data/recall.jsonl", "--model", made / "small", "--output", tmp_path / "run", *QUICK,
           "--config", config, "--target", "answer", "--lora", 2)  # fmt: skip
    options = json.loads((tmp_path / "run/run.json").read_text())["config"]
    assert (options["lr"], options["max_length"], options["target"]) == (0.001, 2000, "answer")
    assert (options["lora"]["rank"], options["lora"]["alpha"]) == (2, 6)
    about = read_recall_file(tmp_path / "run")
    assert about is not None
    assert (about.target, about.max_length) == ("answer", 2000)
    (record,) = read_records(tmp_path / "run/results.jsonl")
    assert record.training["lr"] == 0.001


def test_who_asks_it_knows_how_it_was_taught(made: Path, taught: Path, tmp_path: Path) -> None:
    about = read_recall_file(taught)
    assert about is not None
    diary = tmp_path / "diary.txt"
    diary.write_text("[1 May 2024]\nAnna: The cat is Nimbus.\n" * 100)
    asked = (taught, "--context", diary, "--question", "Who?", "--note-tokens", 4, "--answer-tokens", 4, "--json",
             "--device", "cpu", "--mode", "segments")  # fmt: skip
    known = json.loads(mnemic("answer", *asked).stdout)["results"]
    given = ("--query-position", "before", "--training-tokens", about.longest_row)
    assert json.loads(mnemic("answer", *asked, *given).stdout)["results"][0]["segments"] == known[0]["segments"] > 1
    other = json.loads(mnemic("answer", *asked, "--training-tokens", 2 * about.longest_row).stdout)["results"]
    assert other[0]["segments"] < known[0]["segments"]
    scores = tmp_path / "scores"
    mnemic("evaluate", taught, "--data", "miniature:count=2,length=60", "--output", scores, "--max-new-tokens", 4,
           "--device", "cpu")  # fmt: skip
    manifest = (scores / "manifest.json").read_text()
    assert '"query_position": "before"' in manifest
    groups = json.loads((scores / "summary.json").read_text())["groups"]
    assert any(name.startswith("length") and "×" in name for name in groups)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-length", 90), "the shortest has"),
        (("--model", "./nowhere"), "no such folder"),
        (("--config", "absent.yaml"), "absent.yaml"),
        (("--lora", 2, "--lora-targets", "nothing"), "nothing"),
        (("--query-position", "middle"), "middle"),
    ],
)
def test_wrong_input_is_named(made: Path, tmp_path: Path, options: tuple[Any, ...], words: str) -> None:
    base = ("--model", made / "small", "--output", tmp_path / "run", *QUICK)
    assert words in mnemic("train", made / "data/recall.jsonl", *base, *options, code=2).output
    assert not (tmp_path / "run/model").exists()


def test_wrong_files_and_models_are_named(made: Path, tmp_path: Path) -> None:
    def refused(rows: Path, model: Path = made / "small") -> str:
        return mnemic("train", rows, "--model", model, "--output", tmp_path / "run", *QUICK, code=2).output

    assert "there is no file" in refused(tmp_path / "absent.jsonl")
    (tmp_path / "raw.jsonl").write_text('{"context": "a", "query": "b", "answer": "c"}\n')
    assert "rwr build" in refused(tmp_path / "raw.jsonl")
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "short")
    byte_tokenizer().save_pretrained(tmp_path / "short")
    assert "max_position_embeddings" in refused(made / "data/recall.jsonl", tmp_path / "short")


@pytest.mark.slow
def test_two_processes_teach_what_one_does(made: Path, tmp_path: Path) -> None:
    options = ("teach", "rwr", "train", made / "data/recall.jsonl", "--model", made / "small", "--device", "cpu",
               "--steps", 3, "--batch-size", 4, "--rows-at-once", 2, "--lr", 3e-3)  # fmt: skip
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    for name, start in {"one": (), "two": launch}.items():
        command = [sys.executable, *start, "-m", "mnemic", *options, "--output", tmp_path / name]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model/model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on(made: Path, tmp_path: Path) -> None:
    options = ("teach", "rwr", "train", made / "data/recall.jsonl", "--model", made / "small", "--device", "cpu",
               "--steps", 80, "--batch-size", 2, "--rows-at-once", 2, "--evaluations", 80)  # fmt: skip
    command = [sys.executable, "-m", "mnemic", *map(str, options), "--output", str(tmp_path / "run")]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if "step 3 of" in line:
            running.send_signal(signal.SIGTERM)
            break
    said = running.stderr.read()
    assert running.wait(60) == 130
    assert "--resume" in said
    assert list((tmp_path / "run/1-mixed/checkpoints").iterdir())
    assert not (tmp_path / "run/model").exists()
    mnemic(*options[2:], "--output", tmp_path / "run", "--resume")
    assert (tmp_path / "run/model/rwr.json").is_file()
