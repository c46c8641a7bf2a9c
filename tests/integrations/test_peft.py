"""LoRA by plain `peft` on hosts of every mixer: trained, kept apart, merged, and generated with."""

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from tiny_hosts import FAMILIES, tiny_host
from torch import nn
from transformers import AutoModelForCausalLM, TrainingArguments

from mnemic.integrations.transformers import trainer
from mnemic.models import MnemicForCausalLM
from mnemic.tasks import parse_task

pytestmark = pytest.mark.usefixtures("one_thread")
TASK = parse_task("mqar:pairs=2,length=16,vocab=32")
IDS = torch.randint(1, TASK.vocab_size, (3, 11), generator=torch.Generator().manual_seed(1))
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def adapted(family: str, base: MnemicForCausalLM | None = None):
    lora = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(base or tiny_host(family, TASK.vocab_size), lora)


def trained(model, folder):
    args = TrainingArguments(
        output_dir=str(folder), max_steps=4, per_device_train_batch_size=8, learning_rate=3e-2, logging_steps=1,
        report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    run = trainer(model, TASK, args, train_rows=8, valid_rows=8)
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert min(losses) < losses[0]
    return model.eval()


def said(model, **options):
    mask = torch.ones_like(IDS)
    mask[0, :4] = 0
    return model.generate(
        input_ids=IDS, attention_mask=mask, max_new_tokens=7, do_sample=False, pad_token_id=0, **options
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_saved_loaded_and_merged_it_says_the_same(tmp_path, family):
    model = adapted(family)
    adapted_layers = {name for name, module in model.named_modules() if hasattr(module, "lora_A")}
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear) and "lora" not in name}
    assert adapted_layers == {n.removesuffix(".base_layer") for n in linear if not n.endswith("lm_head")}
    trained(model, tmp_path)
    still = [n for n, p in model.named_parameters() if "lora_B" in n and not p.abs().sum()]
    assert still == [], "an adapter that a mixer reads past is never trained"
    logits, generated = model(input_ids=IDS).logits, said(model)
    assert not torch.allclose(logits, tiny_host(family, TASK.vocab_size).eval()(IDS).logits, atol=1e-2)

    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(tiny_host(family, TASK.vocab_size), tmp_path / "adapter").eval()
    torch.testing.assert_close(again(input_ids=IDS).logits, logits)

    plain = model.merge_and_unload()
    assert type(plain) is MnemicForCausalLM
    torch.testing.assert_close(plain(IDS).logits, logits, **CLOSE)
    assert torch.equal(said(plain), generated)
    plain.save_pretrained(tmp_path / "merged")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(loaded(IDS).logits, logits, **CLOSE)


def test_an_adapter_finds_its_base_model_by_the_folder(tmp_path):
    tiny_host("mamba2+attention", TASK.vocab_size).save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    model = trained(adapted("mamba2+attention", base), tmp_path)
    model.save_pretrained(tmp_path / "adapter")
    found = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    torch.testing.assert_close(found(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_beams_and_the_memory_work_through_the_adapters(tmp_path):
    model = trained(adapted("mamba2+attention"), tmp_path)
    for options in ({}, {"num_beams": 3}):
        assert torch.equal(said(model, **options), said(model, use_cache=False, **options))
