"""TRL's own trainer under MEMENTO's attention: it computes the loss that ours computes."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import SFTConfig

from mnemic.errors import UsageError
from mnemic.integrations.transformers import hide_keys
from mnemic.integrations.trl import Collator, sft_trainer
from mnemic.teaching.memento.rules import MarkerIds, MementoRules
from mnemic.teaching.packing import joined
from mnemic.teaching.tokenised_traces import TokenisedTraces
from mnemic.teaching.trace_rows import RowOptions, TraceRows
from mnemic.training.objective import AskedLoss, training_batch

MARKERS = MarkerIds(3, 4, 5, 6)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tokenizer():
    inner = Tokenizer(models.WordLevel({f"w{n}": n for n in range(40)}, unk_token="w1"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="w0", eos_token="w2", unk_token="w1")


@pytest.fixture
def make_rows():
    """`make_rows(attention)`: eight traces of two blocks, of unequal lengths."""
    rng = np.random.default_rng(0)

    def words(count):
        return rng.integers(7, 40, count).tolist()

    def trace(n):
        blocks = [[3, *words(3 + n), 4, 5, *words(2), 6] for _ in range(2)]
        return words(4), [token for block in blocks for token in block] + [*words(2), 2]

    pairs = [trace(n) for n in range(8)]
    ids = [[*prompt, *said] for prompt, said in pairs]
    traces = TokenisedTraces(
        ids=np.concatenate(ids).astype(np.int32),
        roles=np.concatenate([[0] * len(p) + [2] * len(s) for p, s in pairs]).astype(np.int8),
        starts=np.cumsum([0, *map(len, ids)]),
        answers_from=np.asarray([len(prompt) for prompt, _ in pairs]),
        names=tuple(f"t{n}" for n in range(8)),
        dropped={},
        markers=MARKERS,
        vocab_size=40,
        pad=0,
        key="here",
    )
    return lambda attention="memento", **rules: TraceRows(
        traces, RowOptions(attention=attention, rules=MementoRules(**rules), max_length=64)
    )


@pytest.fixture
def make_model():
    def make(implementation="sdpa"):
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, max_position_embeddings=128, initializer_range=0.2,
        )  # fmt: skip
        config._attn_implementation = implementation
        return Qwen3ForCausalLM(config)

    return make


def arguments(folder, **options):
    return SFTConfig(
        output_dir=str(folder), max_steps=3, per_device_train_batch_size=4, learning_rate=1e-2, logging_steps=1,
        report_to=[], use_cpu=True, save_strategy="no", bf16=False, disable_tqdm=True, **options,
    )  # fmt: skip


def our_loss(model, rows, chosen) -> float:
    examples = joined([[rows[row]] for row in chosen], 0)
    batch = training_batch(examples)
    with torch.no_grad():
        return float(AskedLoss(model)(batch)) / len(batch.targets)


@pytest.mark.parametrize("attention", ["memento", "full", "restart"])
def test_its_first_loss_is_ours_and_it_learns(tmp_path, make_rows, make_model, tokenizer, attention):
    rows, model, seen = make_rows(attention), make_model(), []
    trainer = sft_trainer(model, rows, arguments(tmp_path), processing_class=tokenizer)
    collate = trainer.data_collator
    trainer.data_collator = lambda items: seen.append([item["row"] for item in items]) or collate(items)
    untrained = make_model()
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] == pytest.approx(our_loss(untrained, rows, seen[0]), abs=1e-4)
    assert losses[-1] < losses[0]
    if attention != "full":
        assert losses[0] != pytest.approx(our_loss(untrained, make_rows("full"), seen[0]), abs=1e-3)


def test_gradients_accumulate_over_tokens_and_evaluation_hides_too(tmp_path, make_rows, make_model, tokenizer):
    rows = make_rows()
    options = {"gradient_accumulation_steps": 2, "per_device_eval_batch_size": 8}
    trainer = sft_trainer(make_model(), rows, arguments(tmp_path, **options), valid=rows, processing_class=tokenizer)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(our_loss(make_model(), rows, range(8)), abs=1e-4)
    trainer.train()
    first = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert first == pytest.approx(our_loss(make_model(), rows, range(8)), abs=1e-4)


def test_adapters_are_trained_under_the_mask(tmp_path, make_rows, make_model, tokenizer):
    from peft import LoraConfig

    rows = make_rows()
    lora = LoraConfig(r=2, target_modules="all-linear", trainable_token_indices=list(MARKERS), task_type="CAUSAL_LM")
    trainer = sft_trainer(
        make_model(),
        rows,
        arguments(tmp_path, gradient_accumulation_steps=2),
        processing_class=tokenizer,
        peft_config=lora,
    )
    trainer.train()
    first = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert first == pytest.approx(our_loss(make_model(), rows, range(8)), abs=1e-4)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_hook_is_the_mask_and_can_be_taken_off(make_rows, make_model, implementation):
    model, rows = make_model(implementation).eval(), make_rows()
    batch = Collator([rows])([{"source": 0, "row": row} for row in range(3)])
    labels = batch.pop("labels")
    handle = hide_keys(model)
    hidden = model(**batch).logits
    handle.remove()
    until = batch.pop("visible_until")
    assert not torch.allclose(hidden, model(**batch).logits, atol=1e-3)
    examples = joined([[rows[row]] for row in range(3)], 0)
    assert torch.equal(until, torch.from_numpy(examples.visible_until))
    wanted = AskedLoss(model).logits(training_batch(examples))
    torch.testing.assert_close(hidden[:, :-1][labels[:, 1:] != -100], wanted, rtol=1e-4, atol=1e-5)


def test_what_would_undo_the_mask_is_refused(tmp_path, make_rows, make_model):
    with pytest.raises(UsageError, match="padding_free"):
        sft_trainer(make_model(), make_rows(), arguments(tmp_path, packing=True))
    with pytest.raises(UsageError, match="data_collator"):
        sft_trainer(make_model(), make_rows(), arguments(tmp_path), data_collator=list)
