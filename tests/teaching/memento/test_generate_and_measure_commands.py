"""`mnemic teach memento generate` and `measure`, as a user runs them on a taught checkpoint."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from mnemic.cli import cli
from mnemic.teaching.memento.markers import marker_ids
from mnemic.teaching.memento.memento_file import MementoFile, write_memento_file
from mnemic.teaching.memento.rules import MementoRules


@pytest.fixture
def checkpoint(tmp_path: Any, make_model: Any, tokenizer: Any) -> Any:
    folder = tmp_path / "taught"
    made = make_model(vocab=len(tokenizer))
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    about = MementoFile(
        marker_ids=marker_ids(tokenizer), rules=MementoRules(max_block_tokens=6), trained_with="memento"
    )
    write_memento_file(folder, about)
    return folder


@pytest.fixture
def prompts(tmp_path: Any) -> Any:
    block = "<|block_start|> w1 w2 w3 <|block_end|> <|summary_start|> w4 <|summary_end|>"
    lines = [
        {"id": "plain", "prompt": "w5 w6 w7"},
        {
            "id": "turns",
            "messages": [
                {"role": "user", "content": "w5"},
                {"role": "assistant", "content": f"{block} {block}"},
                {"role": "user", "content": f"w6 {block}"},
            ],
        },
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def mnemic(*arguments: Any, code: int = 0) -> Any:
    done = CliRunner().invoke(cli, ["teach", "memento", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def test_generate_evicts_what_earlier_turns_have_summarised(checkpoint: Any, prompts: Any) -> None:
    options = ("--prompts", prompts, "--max-new-tokens", 12, "--device", "cpu", "--json")
    found = json.loads(mnemic("generate", checkpoint, *options).stdout)["results"]
    assert [one["id"] for one in found] == ["plain", "turns"]
    assert len(found[1]["blocks"]) >= 2  # those of the assistant; the user's markers are text
    for one in found:
        assert one["tokens"] <= 12
        assert len(one["kv_trace"]) == one["prompt_tokens"] + one["tokens"] - 1
        assert one["peak_tokens"] == max(one["kv_trace"])
    held = found[1]["kv_trace"][found[1]["prompt_tokens"]]
    assert held == found[1]["prompt_tokens"] + 1 - 2 * 3
    full = json.loads(mnemic("generate", checkpoint, *options, "--full").stdout)["results"]
    assert full[1]["kv_trace"] == list(range(1, len(full[1]["kv_trace"]) + 1))


def test_generate_streams_and_is_the_same_with_the_same_seed(checkpoint: Any) -> None:
    options = ("--prompt", "w1 w2", "--max-new-tokens", 9, "--device", "cpu", "--temperature", 1.0)
    first, again, other = (
        mnemic("generate", checkpoint, *options, "--seed", seed, "--well-formed") for seed in (1, 1, 2)
    )
    assert first.stdout == again.stdout != other.stdout
    assert "were held" in first.stderr


def test_measure_writes_a_line_a_prompt_and_goes_on(checkpoint: Any, prompts: Any, tmp_path: Any) -> None:
    output = tmp_path / "out"
    options = ("--prompts", prompts, "--output", output, "--max-new-tokens", 10, "--repeats", 1, "--device", "cpu")
    found = json.loads(mnemic("measure", checkpoint, *options, "--json").stdout)
    plain, turns = found["prompts"]
    assert turns["peak"] < turns["full_peak"] == len(turns["trace"])
    assert turns["evictions"] >= 2
    assert plain["full_area"] == sum(range(1, plain["full_peak"] + 1))
    assert set(plain["speed"]) == {"evicting", "full, set aside", "full, transformers"}
    page = (output / "report.html").read_text()
    assert "<svg" in page
    assert "turns" in page
    kept = (output / "measured.jsonl").read_text().splitlines()
    (output / "measured.jsonl").write_text(kept[0] + "\n" + kept[1][:40])  # killed while it wrote
    again = mnemic("measure", checkpoint, *options)
    assert "prompt turns (1 of 2)" in again.stderr
    assert "prompt plain" not in again.stderr
    assert (output / "measured.jsonl").read_text().splitlines()[0] == kept[0]
    other = mnemic("measure", checkpoint, *options, "--max-new-tokens", 11, code=2)
    assert "name another --output" in other.output


def test_restarting_is_asked_for_by_an_option_and_keeps_the_checkpoints_cap(checkpoint: Any, prompts: Any) -> None:
    options = ("--prompts", prompts, "--max-new-tokens", 8, "--device", "cpu", "--json", "--restart")
    found = json.loads(mnemic("generate", checkpoint, *options).stdout)
    assert found["rules"] == MementoRules(restart=True, max_block_tokens=6).model_dump()
    assert found["results"][1]["evictions"] >= 1
    refused = mnemic("generate", checkpoint, "--prompt", "w1", "--restart", "--full", code=2)
    assert "--full evicts nothing" in refused.stderr


def test_wrong_use_is_explained(checkpoint: Any, tmp_path: Any) -> None:
    assert "give either" in mnemic("generate", checkpoint, code=2).output
    assert "there is no file" in mnemic("generate", checkpoint, "--prompts", tmp_path / "none.jsonl", code=2).output
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"question": "w1"}\n')
    assert "line 1 has no prompt" in mnemic("generate", checkpoint, "--prompts", wrong, code=2).output
    wrong.write_text('{"id": 1, "prompt": "w1"}\n{"id": 1, "prompt": "w1"}\n')
    assert "comes twice" in mnemic("generate", checkpoint, "--prompts", wrong, code=2).output
    (checkpoint / "memento.json").unlink()
    assert "has no memento.json" in mnemic("generate", checkpoint, "--prompt", "w1", code=2).output
