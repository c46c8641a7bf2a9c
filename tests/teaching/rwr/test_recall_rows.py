"""A recall record as a row: inference's own prompt, of which nothing is asked or cut; families stay whole."""

import numpy as np
import pytest
import torch
from byte_text import VOCABULARY, byte_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.tasks.base import UNASKED
from mnemic.teaching.packing import joined
from mnemic.teaching.records import RecallRecord, write_jsonl
from mnemic.teaching.rwr.answering import prompt_ids
from mnemic.teaching.rwr.canon import EMPTY, UNANSWERABLE
from mnemic.teaching.rwr.layout import parse_reply, prompt_text
from mnemic.teaching.rwr.mixture import mode_of
from mnemic.teaching.rwr.recall_rows import RecallRowOptions
from mnemic.teaching.rwr.tokenised_recall import mode_asked, tokenise_recall
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.training.objective import AskedLoss, training_batch

GOOD = {"method": "contains", "score": 1.0, "ok": True}
TARGETS = ["mixed", "summary+answer", "summary", "answer"]


def record(kind: str, number: int, context: str | None = None) -> RecallRecord:
    place = ["Oslo", "Rome", "Lima", "Bern"][number % 4]
    said = {"id": f"e{number}/{kind}", "query": f"Where is Anna on day {number}?", "answer": place}
    said["context"] = context or f"On day {number} Anna was in {place}. " + "It rained. " * (number % 3)
    if kind == "valid":
        said |= {"summary": f"day {number}: {place}", "verified": GOOD}
    if kind == "empty":
        said |= {"summary": EMPTY, "answer": UNANSWERABLE, "empty": True, "verified": GOOD | {"method": "teacher"}}
        said["context"] = context or f"On day {number} nothing happened."
    return RecallRecord.model_validate(said)


RECORDS = [record(kind, number) for number in range(8) for kind in ("plain", "valid", "empty")]


@pytest.fixture
def path(tmp_path):
    write_jsonl(tmp_path / "recall.jsonl", RECORDS)
    return tmp_path / "recall.jsonl"


def with_bos():
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    rule = TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = rule
    return tokenizer


@pytest.mark.parametrize("position", ["after", "before", "both"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("make", [byte_tokenizer, with_bos])
def test_prompts_are_those_of_inference_and_what_follows_is_asked(path, make, target, position) -> None:
    tokenizer, options = make(), RecallRowOptions(target=target, query_position=position)
    rows = tokenise_recall(path, tokenizer, options)
    assert len(rows) == len(RECORDS)
    for number, one in enumerate(RECORDS):
        mode, row = mode_asked(one, options), rows[number]
        prompt = prompt_ids(tokenizer, prompt_text(one.context, one.query, mode=mode, query_position=position))
        begin = len(prompt)
        assert row.ids[:begin].tolist() == prompt
        assert (row.labels[: begin - 1] == UNASKED).all()
        assert row.labels[begin - 1 : -1].tolist() == row.ids[begin:].tolist()
        assert row.ids[-1] == tokenizer.eos_token_id
        assert row.labels[-1] == UNASKED
        reply = parse_reply(tokenizer.decode(row.ids[begin:-1]), mode=mode)
        assert reply.summary == (None if mode == "answer" else one.summary)
        assert reply.answer == (None if mode == "summary" else one.answer)


def test_targets_ask_for_what_they_say(path) -> None:
    def modes(target, **options):
        return [mode_asked(one, RecallRowOptions(target=target, **options)) for one in RECORDS]

    assert set(modes("answer")) == {"answer"}
    assert modes("summary") == ["answer", "summary", "summary"] * 8
    expected = [mode_of(one.id, one.kind, summary_share=0.3) for one in RECORDS]
    assert modes("mixed", summary_share=0.3) == expected
    assert {"summary", "summary+answer", "answer"} == set(expected)
    rows = tokenise_recall(path, byte_tokenizer(), RecallRowOptions(summary_share=0.3))
    assert rows.asked == {mode: expected.count(mode) for mode in set(expected)}


def test_every_target_has_the_same_records_and_none_is_cut(path) -> None:
    lengths = tokenise_recall(path, byte_tokenizer(), RecallRowOptions(target="summary+answer")).lengths
    limit = int(np.median(lengths))
    kept = {}
    for target in TARGETS:
        rows = tokenise_recall(path, byte_tokenizer(), RecallRowOptions(target=target, max_length=limit))
        assert rows.lengths.max() <= limit
        assert rows.dropped == {"longer than max_length": int((lengths > limit).sum())}
        kept[target] = rows.families
    assert len({*kept.values()}) == 1
    with pytest.raises(UsageError, match="the shortest has"):
        tokenise_recall(path, byte_tokenizer(), RecallRowOptions(max_length=20))


def test_failed_records_are_counted_and_files_without_notes_refused(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [record("valid", 0), record("valid", 1).failed("teacher: silent"), record("plain", 2)])
    assert tokenise_recall(path, byte_tokenizer(), RecallRowOptions()).dropped == {"failed": 1}
    write_jsonl(path, [record("plain", 0), record("plain", 1)])
    with pytest.raises(UsageError, match="has a note"):
        tokenise_recall(path, byte_tokenizer(), RecallRowOptions())
    assert len(tokenise_recall(path, byte_tokenizer(), RecallRowOptions(target="answer"))) == 2
    path.write_text('{"context": "a", "query": "b", "answer": "c"}\n')
    with pytest.raises(UsageError, match="rwr build"):
        tokenise_recall(path, byte_tokenizer(), RecallRowOptions())
    endless = byte_tokenizer()
    endless.eos_token = None
    with pytest.raises(UsageError, match="no eos token"):
        tokenise_recall(path, endless, RecallRowOptions())


def test_kept_tokens_are_those_that_were_made(path, tmp_path) -> None:
    made = tokenise_recall(path, byte_tokenizer(), RecallRowOptions(), cache=tmp_path)
    done = []
    kept = tokenise_recall(path, byte_tokenizer(), RecallRowOptions(), cache=tmp_path, on_progress=done.append)
    assert done == []
    assert (kept.families, kept.asked, kept.dropped, kept.key) == (made.families, made.asked, made.dropped, made.key)
    assert all(np.array_equal(a, b) for one, two in zip(kept, made, strict=True) for a, b in zip(one, two, strict=True))
    other = tokenise_recall(path, byte_tokenizer(), RecallRowOptions(target="answer"), cache=tmp_path)
    assert other.key != made.key


def test_no_context_is_trained_on_and_held_out(tmp_path) -> None:
    shared = [record("plain", n, context=f"Shared {n // 4}: all of it.") for n in range(8, 16)]
    write_jsonl(tmp_path / "rows.jsonl", [*RECORDS, *shared])
    rows = tokenise_recall(tmp_path / "rows.jsonl", byte_tokenizer(), RecallRowOptions())
    assert len({*rows.families}) == 8 + 2
    assert all(len({*rows.families[3 * n : 3 * n + 3]}) == 1 for n in range(8))
    for share in (0.02, 0.1, 0.3, 0.5, 0.9):
        split = TeachingRows(rows, "rows", validation=share)
        held = {split.held_out_row(number) for number in range(split.held_out)}
        families = {rows.family(row) for row in held}
        assert all((row in held) == (rows.family(row) in families) for row in range(len(rows)))
        assert 0 < len(held) < len(rows)
        assert abs(len(held) - share * len(rows)) <= 4


def models() -> dict:
    torch.manual_seed(0)
    small = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "initializer_range": 0.2}
    host = [{"mixer": "gated-deltanet", "heads": 2, "head_width": 8}]
    return {
        "host-mamba2": MnemicForCausalLM(
            MnemicConfig(VOCABULARY, 16, 2, layers=[{"mixer": "mamba2", "head_width": 8, "state": 8}])
        ),
        "host-gated-deltanet": MnemicForCausalLM(MnemicConfig(VOCABULARY, 16, 2, layers=host)),
        "mamba": MambaForCausalLM(MambaConfig(**small, state_size=4)),
        "mamba2": Mamba2ForCausalLM(
            Mamba2Config(**small, num_heads=4, head_dim=8, state_size=8, n_groups=1, chunk_size=32)
        ),
        "llama": LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2, intermediate_size=16)),
    }


@pytest.mark.parametrize("name", list(models()))
def test_padding_on_the_right_leaves_loss_and_gradients_as_they_are(path, name) -> None:
    rows = tokenise_recall(path, byte_tokenizer(), RecallRowOptions())
    chosen = [rows[row] for row in (1, 5, 9, 20)]
    assert len({len(row.ids) for row in chosen}) > 1
    model = models()[name].train()

    def loss_and_gradients(groups):
        model.zero_grad()
        losses = [AskedLoss(model)(training_batch(joined([[row] for row in group], rows.pad))) for group in groups]
        sum(losses).backward()
        return sum(losses).detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    together, alone = loss_and_gradients([chosen]), loss_and_gradients([[row] for row in chosen])
    torch.testing.assert_close(together[0], alone[0], rtol=1e-5, atol=1e-4)
    for one, other in zip(together[1], alone[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * (1 + other.abs().max().item()))
