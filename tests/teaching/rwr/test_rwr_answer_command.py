"""`mnemic teach rwr answer`, as a user runs it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_text import VOCABULARY, byte_tokenizer
from click.testing import CliRunner
from transformers import LlamaConfig, LlamaForCausalLM

from mnemic.cli import cli
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.rwr.decimation import Decimation

CONTEXT = "2024-03-01\nUser: The cat is Nimbus.\n\n2024-03-02\nUser: I moved to Oslo.\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("rwr") / "taught"
    torch.manual_seed(0)
    layers = [{"mixer": "mamba2", "head_width": 8, "state": 8}]
    made = MnemicForCausalLM(MnemicConfig(VOCABULARY, 16, 1, layers=layers, init="normal", initializer_range=1.0))
    torch.nn.init.constant_(made.model.layers[0].mixer.A_log, -5.0)  # fades slowly: all tokens count
    made.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "diary.txt"
    path.write_text(CONTEXT)
    return path


def answer(*arguments: Any, code: int = 0) -> Any:
    done = CliRunner().invoke(cli, ["teach", "rwr", "answer", *map(str, arguments), "--device", "cpu"])
    assert done.exit_code == code, (done.output, done.exception)
    return done


SMALL = ("--note-tokens", 5, "--answer-tokens", 4)


@pytest.mark.parametrize("mode", ["note", "direct", "segments"])
def test_each_mode_answers_every_question(checkpoint: Path, context: Path, tmp_path: Path, mode: str) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"query": "Who?", "id": "a"}\n\n{"question": "And where does she live?"}\n')
    options = ("--context", context, "--questions", asked, "--mode", mode, *SMALL, "--segment-tokens", 45, "--json")
    found = json.loads(answer(checkpoint, *options).stdout)
    assert [(one["id"], one["question"]) for one in found["results"]] == [
        ("a", "Who?"),
        ("3", "And where does she live?"),
    ]
    assert found["state_bytes"] == 4 * (32 * 8 + 3 * 48)
    assert found["speed"]["prefill_per_second"] > 0
    if mode == "segments":
        assert [one["segments"] for one in found["results"]] == [2, 2]
    else:
        assert all(one["tokens"] <= 9 for one in found["results"])


def test_one_question_is_answered_for_people(checkpoint: Path, context: Path) -> None:
    shown = answer(checkpoint, "--context", context, "--question", "Who?", *SMALL).stdout
    assert "Who?" in shown
    assert "note:" in shown


def test_a_model_without_a_state_says_so_and_answers(context: Path, tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    byte_tokenizer().save_pretrained(tmp_path / "llama")
    found = json.loads(answer(tmp_path / "llama", "--context", context, "--question", "a", *SMALL, "--json").stdout)
    assert found["state_bytes"] is None


@pytest.mark.parametrize("mode", ["note", "direct", "segments"])
def test_a_decimated_prompt_is_answered_by_what_is_left_of_it(checkpoint: Path, context: Path, mode: str) -> None:
    options = ("--context", context, "--question", "Who?", "--mode", mode, "--segment-tokens", 45, *SMALL, "--json")
    whole = json.loads(answer(checkpoint, *options).stdout)
    found = json.loads(answer(checkpoint, *options, "--decimate", "21,0").stdout)
    assert found["decimation"] == Decimation(keep=21, layer=0).model_dump()
    assert "decimation" not in whole
    everything = json.loads(answer(checkpoint, *options, "--decimate", 10_000).stdout)
    keys = ("question", "answer", "text") if mode != "segments" else ("question", "answer", "notes")
    assert [[one[key] for key in keys] for one in everything["results"]] == [
        [one[key] for key in keys] for one in whole["results"]
    ]
    if mode != "segments":
        assert found["results"][0]["text"] != whole["results"][0]["text"]


def test_what_cannot_be_decimated_is_said_before_anything_is_answered(checkpoint: Path, context: Path) -> None:
    asked = ("--context", context, "--question", "a")
    for given in ("0", "x", "20,", "20,-1", "20,1,2"):
        assert "how many tokens to keep" in answer(checkpoint, *asked, "--decimate", given, code=2).output
    assert "layer is 7" in answer(checkpoint, *asked, "--decimate", "20,7", code=2).output


def test_wrong_input_is_explained(checkpoint: Path, context: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked.jsonl"
    twice = '{"query": "a", "id": 1}\n{"query": "b", "id": 1}\n'
    for text, said in (
        ("[1]\n", "no question"),
        ("{\n", "no JSON"),
        ("\n", "holds no question"),
        (twice, "came before"),
    ):
        asked.write_text(text)
        assert said in answer(checkpoint, "--context", context, "--questions", asked, code=2).output
    assert "--question TEXT" in answer(checkpoint, "--context", context, code=2).output
    nowhere = answer(checkpoint, "--context", tmp_path / "nowhere.txt", "--question", "a", code=2).output
    assert "there is no file" in nowhere
