"""Passcodes stand where they should and nowhere else, and the probe's command reads them."""

import json

import pytest
from click.testing import CliRunner

from mnemic.cli import cli
from mnemic.errors import UsageError
from mnemic.teaching.memento.blocks import NEVER, parse_blocks
from mnemic.teaching.memento.export import save_export
from mnemic.teaching.memento.markers import marker_ids
from mnemic.teaching.memento.memento_file import MementoFile
from mnemic.teaching.memento.passcodes import passcode_traces, with_passcode
from mnemic.teaching.memento.rules import MementoRules
from mnemic.teaching.records import Segment, TraceRecord, write_jsonl

CODE = (4, 8, 1, 5, 2)
SENTENCE = "The passcode is 4 8 1 5 2. "


def record(blocks: int = 4) -> TraceRecord:
    segments = []
    for block in range(blocks):
        text = f"We look at part {block} of it with care. Then it is done and settled. After that we go on.\n"
        segments += [
            Segment(kind="block", text=text, block=block),
            Segment(kind="memento", text=f"w{block}", block=block),
        ]
    return TraceRecord(id="a", prompt=({"role": "user", "content": "w1"},), segments=tuple(segments), answer="w2")


def test_a_passcode_stands_between_two_sentences_of_its_block_and_changes_nothing_else() -> None:
    before, after = record(), with_passcode(record(), 1, CODE)
    assert SENTENCE in after.segments[2].text
    assert after.segments[2].text.replace(SENTENCE, "") == before.segments[2].text
    assert after.segments[2].text.split(SENTENCE)[0].endswith(". ")
    assert [s for i, s in enumerate(after.segments) if i != 2] == [s for i, s in enumerate(before.segments) if i != 2]


def test_rows_hold_the_code_in_the_chosen_block_and_the_places_are_the_mementos(make_tokenizer) -> None:
    tokenizer = make_tokenizer()
    for word in [*SENTENCE.split(), *"0123456789"]:
        tokenizer.add_tokens([word])
    made = passcode_traces([record(), record(5)], tokenizer, MementoRules(), block=1, count=6, seed=3)
    assert made.digits.shape == (6, 5)
    assert sorted(made.places) == [-1, 0, 1, 2]
    markers = marker_ids(tokenizer)
    for row, (ids, until) in enumerate(zip(made.input_ids.tolist(), made.visible_until.tolist(), strict=True)):
        blocks = parse_blocks(ids, markers)
        assert len(blocks) == 4, "what comes after the last memento that is read is left out"
        said = tokenizer.decode(ids[blocks[1].start : blocks[1].end]).replace(".", "")
        assert " ".join(map(str, made.digits[row])) in said
        assert until[blocks[1].start + 1] == blocks[1].summary_end
        assert until[0] == NEVER
        for distance, at in made.places.items():
            block = blocks[1 + distance]
            assert at[row].tolist()[-1] == block.summary_end - 1
            assert at[row].tolist()[0] >= block.summary_start


def test_the_command_probes_a_checkpoint(tmp_path, make_tokenizer, make_model) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([*SENTENCE.split(), *"0123456789"])
    model = make_model(vocab=len(tokenizer))
    about = MementoFile(marker_ids=marker_ids(tokenizer), trained_with="memento")
    save_export(model, tokenizer, about, tmp_path / "taught")
    write_jsonl(tmp_path / "traces.jsonl", [record()])
    arguments = ["teach", "memento", "probe", str(tmp_path / "taught"), str(tmp_path / "traces.jsonl"), "--rows", "200"]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert sorted(report["by_distance"]) == ["-1", "0", "1", "2"]
    assert report["layers"] == [1]
    assert report["by_distance"]["-1"]["accuracy"] < 0.25
    shown = CliRunner().invoke(cli, arguments)
    assert "2 (the passcode)" in shown.stdout
    refused = CliRunner().invoke(cli, [*arguments, "--layer", "7"])
    assert refused.exit_code == 2
    assert "layer 7" in refused.stderr


def test_wrong_use_is_named(make_tokenizer) -> None:
    with pytest.raises(UsageError, match="block=0 has no memento before it"):
        passcode_traces([record()], make_tokenizer(), MementoRules(), block=0)
    with pytest.raises(UsageError, match="no trace has 7 blocks"):
        passcode_traces([record()], make_tokenizer(), MementoRules(), block=4)
    with pytest.raises(UsageError, match="has no block 9"):
        with_passcode(record(), 9, CODE)
