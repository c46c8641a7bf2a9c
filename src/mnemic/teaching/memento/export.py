"""A taught model as a folder that anybody can load and any server can serve.

model.safetensors, config.json …   as transformers saves them, adapters merged
tokenizer.json …                   with the markers, and with a chat template that only appends
memento.json                       what was taught: markers, rules, kind of training
"""

import json
import shlex
import shutil
from dataclasses import astuple
from pathlib import Path
from typing import Any

from mnemic.errors import UsageError
from mnemic.teaching.export_folder import replace_model, save_model
from mnemic.teaching.memento.chat import encode_chat
from mnemic.teaching.memento.marker_text import MARKERS
from mnemic.teaching.memento.memento_file import MementoFile, check_may_evict, read_memento_file, write_memento_file
from mnemic.teaching.memento.rules import MementoRules

__all__ = ["CHATML", "copy_export", "ensure_template", "find_model", "llama_cpp_notes", "save_export", "vllm_notes"]

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML that only appends: no system prompt of its own, and nobody's reasoning is cut out later."""

_PROBE = (
    {"role": "user", "content": "1"},
    {"role": "assistant", "content": "<think>2</think>3"},
    {"role": "user", "content": "4"},
)


def ensure_template(tokenizer: Any) -> str | None:
    """Give a tokenizer a chat template that only appends, where it has none or one that rewrites earlier turns.

    Returns:
        a note on what was changed, None when nothing was.

    Raises:
        UsageError: its own template cannot be used and it has no <|im_start|> to write ChatML with.
    """
    why = "it had none"
    if getattr(tokenizer, "chat_template", None) is not None:
        try:
            encode_chat(tokenizer, _PROBE)
        except UsageError:
            why = "its own rewrites earlier turns"
        else:
            return None
    vocabulary = tokenizer.get_vocab()
    if "<|im_start|>" not in vocabulary or "<|im_end|>" not in vocabulary:
        raise UsageError(
            "the tokenizer's chat template cannot be used (" + why + ") and it knows no <|im_start|> and <|im_end|> "
            "for ChatML; set tokenizer.chat_template to one that only appends"
        )
    tokenizer.chat_template = CHATML
    tokenizer.eos_token = "<|im_end|>"  # what ends a turn of ChatML; base models have another
    return f"the chat template is now ChatML without a system prompt: {why}"


def save_export(model: Any, tokenizer: Any, about: MementoFile, target: Path) -> None:
    """Write a model with all that serving it needs; a folder that stood there is replaced when the new one is whole.

    Raises:
        MnemicError: it cannot be written; what was there is untouched.
    """

    save_model(model, tokenizer, target, lambda aside: write_memento_file(aside, about))


def copy_export(source: Path, target: Path, *, rules: MementoRules | None = None, force: bool = False) -> MementoFile:
    """Export a run, or an export once more, under other rules if wanted.

    Raises:
        UsageError: there is no taught model in `source`, or it must not be run with eviction.
    """
    folder = find_model(source)
    about = read_memento_file(folder)
    if rules is not None:
        about = about.model_copy(update={"rules": rules})
    check_may_evict(about, force=force)
    if target.resolve() == folder.resolve():
        raise UsageError(f"'{target}' is the model itself; name another folder")

    def fill(aside: Path) -> None:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        write_memento_file(aside, about)

    replace_model(target, fill)
    return about


def find_model(source: Path) -> Path:
    """The folder with the model: `source`, or `model/` in a run's folder."""
    for folder in (source, source / "model"):
        if (folder / "config.json").is_file():
            return folder
    raise UsageError(f"there is no model in '{source}'; mnemic teach memento train makes one")


def vllm_notes(folder: Path, about: MementoFile) -> str:
    """How the reference overlay (microsoft/memento, for vLLM 0.13) serves an export."""
    start, end, summary_start, summary_end = about.markers
    masking = {
        "enable": True,
        "keep_last_n_blocks": about.rules.keep_last_n_blocks,
        "block_start_token": start,
        "block_end_token": end,
        "summary_start_token": summary_start,
        "summary_end_token": summary_end,
        "require_assistant_section": True,
        "compact_on_summary_end": True,
        "mask_delimiters": about.rules.mask_delimiters,
        "keep_last_block_for_answer": about.rules.keep_last_block_for_answer,
        "restart_mode": about.rules.restart,
        "max_block_tokens": about.rules.max_block_tokens,
    }
    text = json.dumps(masking)
    capped = " --async-scheduling false" if about.rules.max_block_tokens else ""
    return (
        f"python -m vllm.entrypoints.openai.api_server --model {shlex.quote(str(folder))} "
        f"--no-enable-prefix-caching{capped} --block-masking-config {shlex.quote(text)}\n\n"
        "Needs vLLM 0.13 with the overlay of microsoft/memento copied over it; the option was read there, not run "
        "here. Ask with skip_special_tokens=false, or the markers are missing from the reply."
    )


def llama_cpp_notes(folder: Path, about: MementoFile) -> str:
    """What a llama.cpp program has to do, for it has no eviction by markers of its own."""
    ids = dict(zip(astuple(MARKERS), about.marker_ids, strict=True))
    inside = "from the block's start up to and including its end" if about.rules.mask_delimiters else (
        "what stands between the block's start and its end, both markers kept"
    )  # fmt: skip
    return (
        f"python convert_hf_to_gguf.py {folder} --outfile model.gguf\n\n"
        f"Marker ids: {', '.join(f'{text} {number}' for text, number in ids.items())}.\n"
        f"When {about.markers[3]} is sampled, and before it is decoded, remove {inside}:\n"
        "  llama_memory_seq_rm(llama_get_memory(ctx), seq, first, past_last)\n"
        "Leave the positions as they are: no llama_memory_seq_add afterwards, and the next token keeps counting from "
        "the whole stream. Recurrent layers cannot forget a span."
    )
