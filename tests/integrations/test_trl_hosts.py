"""TRL's SFTTrainer on the host model as on any other: texts, prompts with completions, chats; whole or by adapters."""

import pytest
import torch
from byte_text import byte_tokenizer
from datasets import Dataset
from peft import LoraConfig
from tiny_hosts import tiny_host
from trl import SFTConfig, SFTTrainer

from mnemic.models import MnemicForCausalLM

pytestmark = pytest.mark.usefixtures("one_thread")
FACTS = {"Ada lives in ": "Rome", "Bo lives in ": "Oslo", "Cy lives in ": "Lima"}
TEXTS = Dataset.from_list([{"text": prompt + answer} for prompt, answer in FACTS.items()])
PAIRS = Dataset.from_list([{"prompt": prompt, "completion": answer} for prompt, answer in FACTS.items()])
CHATS = Dataset.from_list(
    [
        {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}
        for prompt, answer in FACTS.items()
    ]
)
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}"
    "<|end|>{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
LORA = LoraConfig(r=8, lora_alpha=32, target_modules="all-linear")


def tokenizer():
    made = byte_tokenizer()
    made.pad_token = made.eos_token
    made.chat_template = TEMPLATE
    return made


def tuned(folder, rows, family="mamba2+attention", steps=60, peft=None, **options):
    lr = 1e-2 if peft is None else 4e-2
    args = SFTConfig(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=3, learning_rate=lr, logging_steps=1,
        report_to=[], use_cpu=True, save_strategy="no", bf16=False, disable_tqdm=True, gradient_checkpointing=False,
        **options,
    )  # fmt: skip
    words = tokenizer()
    run = SFTTrainer(
        model=tiny_host(family, len(words)), args=args, train_dataset=rows, processing_class=words, peft_config=peft
    )
    run.train()
    return run, words


def losses(run) -> list[float]:
    return [entry["loss"] for entry in run.state.log_history if "loss" in entry]


def says(run, words, prompt: str) -> str:
    ids = words(prompt, return_tensors="pt")["input_ids"]
    model = run.model.eval()
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, pad_token_id=256,
        eos_token_id=256,
    )  # fmt: skip
    return words.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize(
    ("rows", "peft"),
    [(TEXTS, None), (PAIRS, None), (PAIRS, LORA), (CHATS, None), (CHATS, LORA)],
    ids=["texts", "pairs", "pairs by lora", "chats", "chats by lora"],
)
def test_it_learns_three_facts_and_says_them(tmp_path, rows, peft):
    options = {"assistant_only_loss": True} if rows is CHATS else {}
    run, words = tuned(tmp_path, rows, peft=peft, **options)
    assert isinstance(run.accelerator.unwrap_model(run.model), MnemicForCausalLM) is (peft is None)
    lowest = 0.1 if peft is None else 3.0  # a frozen norm and head of random weights say nothing for sure
    assert losses(run)[-1] < lowest < losses(run)[0]
    for prompt, answer in FACTS.items():
        asked = words.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        assert says(run, words, asked if rows is CHATS else prompt) == answer


@pytest.mark.parametrize("family", ["mamba2", "gated-deltanet", "attention"])
def test_its_first_loss_is_the_cross_entropy_of_what_is_trained(tmp_path, family):
    run, words = tuned(tmp_path, PAIRS, family, steps=1)
    host, nats, count = tiny_host(family, len(words)).eval(), 0.0, 0
    for prompt, answer in FACTS.items():
        ids = torch.tensor(words(prompt)["input_ids"] + words(answer)["input_ids"] + [words.eos_token_id])
        with torch.no_grad():
            logprobs = host(ids[None]).logits[0, :-1].log_softmax(-1)
        trained = torch.arange(len(prompt) - 1, len(ids) - 1)
        nats -= float(logprobs[trained, ids[1:][trained]].sum())
        count += len(trained)
    assert losses(run)[0] == pytest.approx(nats / count, abs=1e-4)
