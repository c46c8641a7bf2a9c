"""A packed document gives the loss that it gives alone, and packing loses and wastes nothing that it need not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.packing import best_fit, check_can_pack, joined
from mnemic.teaching.records import write_jsonl
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.teaching.tokenised_traces import tokenise_traces
from mnemic.teaching.trace_rows import RowOptions, TraceRows
from mnemic.training.objective import AskedLoss, training_batch


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 120))
def test_every_row_is_packed_once_and_no_two_packs_would_fit_into_one(lengths, longest):
    packs = best_fit(lengths, longest)
    assert sorted(row for pack in packs for row in pack) == list(range(len(lengths)))
    used = [sum(lengths[row] for row in pack) for pack in packs]
    assert all(size <= longest for size in used)
    assert all(a + b > longest for i, a in enumerate(used) for b in used[:i])


def per_token(model, examples):
    batch = training_batch(examples)
    with torch.no_grad():
        return F.cross_entropy(AskedLoss(model).logits(batch), batch.targets, reduction="none")


@pytest.mark.parametrize("attention", ["full", "memento", "restart"])
@pytest.mark.parametrize(("family", "implementation"), [("llama", "sdpa"), ("qwen3", "eager"), ("qwen3", "sdpa")])
def test_a_packed_document_has_the_loss_it_has_alone(
    tmp_path, tokenizer, make_model, make_trace, attention, family, implementation
):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [make_trace(n, blocks=((3 + n, 2),) * (1 + n % 3)) for n in range(5)])
    rows = list(TraceRows(tokenise_traces(path, tokenizer), RowOptions(attention=attention)))
    model = make_model(family, implementation=implementation)
    alone = [per_token(model, joined([[row]], pad=0)) for row in rows]
    packed = joined([rows[:3], rows[3:]], pad=0, multiple=16)
    assert packed.input_ids.shape[1] % 16 == 0
    torch.testing.assert_close(per_token(model, packed), torch.cat(alone), rtol=1e-5, atol=1e-5)
    shifted = joined([rows[1:], rows[:1]], pad=0)
    order = [*alone[1:], alone[0]]
    torch.testing.assert_close(per_token(model, shifted), torch.cat(order), rtol=1e-5, atol=1e-5)


def test_padding_changes_nothing(tmp_path, tokenizer, make_model, make_trace):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [make_trace(n, blocks=((3 + 2 * n, 2),)) for n in range(4)])
    model, traces = make_model(), tokenise_traces(path, tokenizer)
    for attention in ("full", "memento"):
        rows = list(TraceRows(traces, RowOptions(attention=attention)))
        together = per_token(model, joined([[row] for row in rows], pad=0))
        alone = torch.cat([per_token(model, joined([[row]], pad=0)) for row in rows])
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_rows_that_hide_nothing_ask_for_no_mask(tmp_path, tokenizer, make_trace):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [make_trace(n) for n in range(2)])
    rows = list(TraceRows(tokenise_traces(path, tokenizer), RowOptions(attention="full")))
    alone = joined([[row] for row in rows], pad=0)
    assert alone.visible_until is None
    assert alone.positions is None
    assert alone.documents is None
    assert joined([rows], pad=0).documents is not None


def test_what_reads_across_documents_is_not_packed(make_model):
    def host(**layer):
        config = MnemicConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, layers=[layer])
        return MnemicForCausalLM(config).config

    check_can_pack(host(mixer="attention"))
    check_can_pack(make_model().config)
    for layer in ({"mixer": "mamba2"}, {"mixer": "sliding-window"}, {"mixer": "attention", "conv_size": 4}):
        with pytest.raises(UsageError, match="cannot be packed"):
            check_can_pack(host(**layer))


@pytest.fixture
def source(tmp_path, tokenizer, make_trace):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [make_trace(n, blocks=((2 + n % 7, 1),)) for n in range(40)])
    rows = TraceRows(tokenise_traces(path, tokenizer), RowOptions(max_length=60))
    return lambda **options: TeachingRows(rows, "traces", validation=0.1, **options)


@pytest.mark.parametrize("pack", [False, True])
def test_an_epoch_holds_every_training_row_once_and_no_held_out_one(source, pack):
    rows = source(pack=pack)
    held_out = rows.sample("valid", 100)
    assert len(held_out) == 4
    orders = []
    for epoch in range(2):
        examples = rows.sample("train", rows.epoch, seed=3, start=epoch * rows.epoch)
        assert int((examples.labels != -100).sum()) + int((held_out.labels != -100).sum()) == asked_tokens(rows)
        orders.append(examples.input_ids.tolist())
    assert orders[0] != orders[1]
    if pack:
        assert rows.epoch < 36


def asked_tokens(rows) -> int:
    return sum(int((row.labels != -100).sum()) for row in rows.rows)


@pytest.mark.parametrize("pack", [False, True])
def test_a_row_depends_on_its_number_alone(source, pack):
    rows = source(pack=pack)
    single = [rows.sample("train", 1, 5, start) for start in range(30)]
    stream = source(pack=pack).stream("train", 4, 5, start=8)
    for number in range(5):
        batch = next(stream)
        for offset in range(4):
            one = single[8 + 4 * number + offset]
            width = one.input_ids.shape[1]
            np.testing.assert_array_equal(batch.input_ids[offset, :width], one.input_ids[0])
            np.testing.assert_array_equal(batch.labels[offset, :width], one.labels[0])
            assert (batch.labels[offset, width:] == -100).all()


@pytest.mark.parametrize("pack", [False, True])
def test_memory_is_measured_on_the_longest_row(source, pack):
    rows = source(pack=pack)
    widths = [rows.sample("train", 1, 0, start).input_ids.shape[1] for start in range(rows.epoch)]
    assert rows.largest_row().input_ids.shape == (1, max(widths))
