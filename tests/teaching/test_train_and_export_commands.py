"""`mnemic teach memento train` and `export`, as a user runs them; and what they say when the input is wrong."""

import json

import pytest
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemic.cli import cli
from mnemic.teaching.memento.chat import encode_chat
from mnemic.teaching.memento.memento_file import read_memento_file
from mnemic.teaching.records import write_jsonl

CONFIG = """
stages: [{attention: full, steps: 3, batch_size: 2}, {attention: memento, steps: 2, batch_size: 2}]
rules: {mask_delimiters: true}
validation: 0.2
"""


@pytest.fixture
def untaught(tmp_path, make_model, make_tokenizer):
    """A folder as the hub has them: no markers, and a template that strips the reasoning of earlier turns."""
    folder = tmp_path / "untaught"
    make_model(vocab=53).save_pretrained(folder)
    tokenizer = make_tokenizer(markers=False)
    stripping = "{{ message['content'].split('</think>')[-1] if not loop.last else message['content'] }}"
    tokenizer.chat_template = tokenizer.chat_template.replace("{{ message['content'] }}", stripping)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def traces(tmp_path, make_trace):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [make_trace(n) for n in range(8)] + [make_trace(8).failed("teacher: silent")])
    return path


def mnemic(*arguments, code: int = 0):
    done = CliRunner().invoke(cli, ["teach", "memento", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def trained(tmp_path, untaught, traces):
    (tmp_path / "config.yaml").write_text(CONFIG)
    options = ("--config", tmp_path / "config.yaml", "--device", "cpu", "--lora", 2, "--json")
    return mnemic("train", traces, "--model", untaught, "--output", tmp_path / "run", *options)


def test_from_traces_to_an_export(tmp_path, trained):
    found = json.loads(trained.stdout)
    assert [stage["steps"] for stage in found["stages"]] == [3, 2]
    assert "markers: they are added" in trained.stderr
    assert "rewrites earlier turns" in trained.stderr
    assert "left out: 1 traces, failed" in trained.stderr
    said = mnemic("export", tmp_path / "run", "--output", tmp_path / "out", "--format", "vllm", "--max-block-tokens", 7)
    masking = json.loads(said.stdout.split("--block-masking-config '")[1].split("'")[0])
    assert masking["mask_delimiters"] is True
    assert masking["max_block_tokens"] == 7
    about = read_memento_file(tmp_path / "out")
    assert about.rules.max_block_tokens == 7
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    turns = [{"role": "user", "content": "w1"}, {"role": "assistant", "content": "<think> w2 </think> w3"}]
    chat = encode_chat(tokenizer, [*turns, {"role": "user", "content": "w4"}])
    assert "w2" in tokenizer.decode(chat.ids)
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    notes = mnemic("export", tmp_path / "out", "--output", tmp_path / "again", "--format", "llama.cpp").stdout
    assert f"<|summary_end|> {about.marker_ids.summary_end}" in notes
    assert "llama_memory_seq_rm" in notes


def test_a_checkpoint_of_the_first_stage_is_not_exported_with_eviction(tmp_path, untaught, traces):
    stage = ("--stages", "full", "--steps", 2, "--batch-size", 2, "--device", "cpu")
    mnemic("train", traces, "--model", untaught, "--output", tmp_path / "run", *stage)
    refused = mnemic("export", tmp_path / "run", "--output", tmp_path / "out", code=2)
    assert "answers collapse" in refused.output
    assert not (tmp_path / "out").exists()
    mnemic("export", tmp_path / "run", "--output", tmp_path / "kept", "--keep-last-n-blocks", -1)
    mnemic("export", tmp_path / "run", "--output", tmp_path / "forced", "--force")


def test_an_export_replaces_a_model_and_nothing_else(tmp_path, trained):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert "something else" in mnemic("export", tmp_path / "run", "--output", out, code=2).output
    assert (out / "thesis.txt").read_text() == "mine"
    (out / "thesis.txt").unlink()
    mnemic("export", tmp_path / "run", "--output", out)
    (out / "model.safetensors").write_bytes(b"old")
    mnemic("export", tmp_path / "run", "--output", out)
    assert (out / "model.safetensors").read_bytes() != b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--stages", "half"), "stage 1: attention=half"),
        (("--stages", "plain,full"), "by itself"),
        (("--max-length", 9), "max_length=9"),
        (("--config", "absent.yaml"), "absent.yaml"),
        (("--attention", "flex_attention", "--device", "cpu"), "no backward"),
        (("--model", "./nowhere"), "no such folder"),
    ],
)
def test_wrong_input_is_named(tmp_path, untaught, traces, options, words):
    base = ("--model", untaught, "--output", tmp_path / "run", "--device", "cpu", "--steps", 1)
    assert words in mnemic("train", traces, *base, *options, code=2).output


def test_a_folder_that_was_never_taught_is_no_source(tmp_path, untaught):
    assert "memento.json" in mnemic("export", untaught, "--output", tmp_path / "out", code=2).output
    assert "no model" in mnemic("export", tmp_path, "--output", tmp_path / "out", code=2).output
