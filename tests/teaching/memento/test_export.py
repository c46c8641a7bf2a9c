"""Exports are whole or the old ones still are; they say what was taught, and end where it ended."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemic.errors import MnemicError, UsageError
from mnemic.teaching.memento.chat import encode_chat
from mnemic.teaching.memento.export import CHATML, ensure_template, save_export, vllm_notes
from mnemic.teaching.memento.markers import marker_ids
from mnemic.teaching.memento.memento_file import MementoFile, check_may_evict, read_memento_file
from mnemic.teaching.memento.rules import MementoRules


@pytest.fixture
def about(tokenizer):
    return MementoFile(marker_ids=marker_ids(tokenizer), trained_with="memento", base_model="tiny")


def test_an_export_is_read_back_as_it_was_written(tmp_path, make_model, tokenizer, about):
    model = make_model(vocab=60)
    model.generation_config.eos_token_id = 7
    save_export(model, tokenizer, about, tmp_path / "out")
    assert read_memento_file(tmp_path / "out") == about
    assert json.loads((tmp_path / "out" / "memento.json").read_text())["schema"] == "mnemic.memento/1"
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.generation_config.eos_token_id == [7, tokenizer.eos_token_id]
    assert marker_ids(AutoTokenizer.from_pretrained(tmp_path / "out")) == about.marker_ids


def test_a_failed_export_leaves_the_old_one_and_no_remains(tmp_path, make_model, tokenizer, about, monkeypatch):
    save_export(make_model(vocab=60), tokenizer, about, tmp_path / "out")
    before = (tmp_path / "out" / "model.safetensors").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tokenizer), "save_pretrained", full)
    with pytest.raises(MnemicError, match="No space"):
        save_export(make_model(vocab=60, seed=1), tokenizer, about, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("trained_with", "keep", "may"),
    [("memento", 0, True), ("restart", 0, True), ("full", 0, False), ("plain", 2, False), ("full", -1, True)],
)
def test_only_what_learned_to_do_without_blocks_may_evict(about, trained_with, keep, may):
    changed = about.model_copy(update={"trained_with": trained_with, "rules": MementoRules(keep_last_n_blocks=keep)})
    check_may_evict(changed, force=True)
    if may:
        check_may_evict(changed)
    else:
        with pytest.raises(UsageError, match=f"'{trained_with}' attention"):
            check_may_evict(changed)


def test_templates_that_only_append_are_left_alone_and_others_replaced(make_tokenizer):
    good = make_tokenizer()
    kept = good.chat_template
    assert ensure_template(good) is None
    assert good.chat_template == kept
    for template in (None, "{{ messages[-1]['content'] }}"):
        other = make_tokenizer(template=template)
        assert "ChatML" in str(ensure_template(other))
        assert other.chat_template == CHATML
        encode_chat(other, [{"role": "user", "content": "w1"}])
    foreign = make_tokenizer(template=None)
    foreign.get_vocab = lambda: {"w1": 1}
    with pytest.raises(UsageError, match="im_start"):
        ensure_template(foreign)


def test_a_damaged_memento_file_is_named(tmp_path):
    (tmp_path / "memento.json").write_text('{"schema": "mnemic.memento/1", "trained_with": "magic"}')
    with pytest.raises(UsageError, match=r"memento.json: .*marker_ids|trained_with"):
        read_memento_file(tmp_path)


def test_the_overlay_is_told_every_rule(about, tmp_path):
    rules = MementoRules(keep_last_n_blocks=2, mask_delimiters=True, max_block_tokens=7000)
    said = vllm_notes(tmp_path / "a model", about.model_copy(update={"rules": rules}))
    masking = json.loads(said.split("--block-masking-config '")[1].split("'")[0])
    assert (masking["keep_last_n_blocks"], masking["mask_delimiters"], masking["max_block_tokens"]) == (2, True, 7000)
    assert "--async-scheduling false" in said
    assert f"'{tmp_path}/a model'" in said
