"""A checkpoint that servers can load: a Qwen3 of some thousand weights that was really taught to write mementos.

It thinks in eight blocks, 0abcdef to 7abcdef, sums each up in its digit, and then answers in characters of many bytes.
"""

import os
from pathlib import Path
from typing import Any

__all__ = ["ANSWER", "THOUGHTS", "byte_tokenizer", "make_checkpoint", "shared_checkpoint", "written"]

ANSWER = "naïve €uro 🙂."
THOUGHTS = "".join(f"{digit}abcdef{digit}" for digit in range(8))
STEPS = 160


def written() -> str:
    """What the model says, markers and all."""
    blocks = "".join(
        f"<|block_start|>{digit}abcdef<|block_end|><|summary_start|>{digit}<|summary_end|>" for digit in range(8)
    )
    return f"<think>{blocks}</think>\n{ANSWER}<|im_end|>"


def shared_checkpoint(tmp_path_factory: Any) -> Path:
    """The taught model in a folder "taught", made once for all tests of a process: read it and leave it as it is."""
    folder: Path = tmp_path_factory.getbasetemp() / "shared" / "taught"
    return folder if folder.exists() else make_checkpoint(folder)


def make_checkpoint(folder: Path, *, taught: bool = True, steps: int = STEPS) -> Path:
    """Fill a folder with the model, a byte-level tokenizer and, if taught, memento.json.

    Args:
        steps: fewer for a model that need not say anything sensible.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from mnemic.teaching.memento.markers import marker_ids
    from mnemic.teaching.memento.memento_file import MementoFile, write_memento_file

    tokenizer = byte_tokenizer()
    torch.manual_seed(3)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=400,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    if taught:
        _teach(model, tokenizer, steps)
        about = MementoFile(marker_ids=marker_ids(tokenizer), trained_with="memento")
        write_memento_file(folder, about)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _teach(model: Any, tokenizer: Any, steps: int) -> None:
    import torch

    from mnemic.models.visibility import attention_masks
    from mnemic.teaching.memento.blocks import visible_until
    from mnemic.teaching.memento.markers import marker_ids
    from mnemic.teaching.memento.rules import MementoRules

    target = torch.tensor(tokenizer.encode(written()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    opening = torch.tensor(tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n"))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        length = int(torch.randint(1, 60, (), generator=generator))
        question = torch.randint(0, 255, (4, length), generator=generator)
        rows = torch.cat([question, opening.expand(4, -1), target.expand(4, -1)], dim=1)
        labels = rows.clone()
        labels[:, : -len(target)] = -100
        until = torch.tensor(visible_until(rows[0], marker_ids(tokenizer), MementoRules())).expand(4, -1)
        mask = attention_masks(model.config, until)
        model(input_ids=rows, labels=labels, attention_mask=mask).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def byte_tokenizer() -> Any:
    """One token per byte, and the markers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from mnemic.teaching.memento.markers import add_markers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={byte: number for number, byte in enumerate(alphabet)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<|im_end|>", pad_token="<|pad|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    add_markers(tokenizer)
    return tokenizer
