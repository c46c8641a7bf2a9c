"""Answers from notes on segments: with a model that reads its prompt word for word, and with real ones for batching."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from byte_text import VOCABULARY, byte_tokenizer
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
from mnemic.teaching.rwr import segmented
from mnemic.teaching.rwr.completion import Decoding, Speed, complete
from mnemic.teaching.rwr.segment_forms import TextForm, TokenForm
from mnemic.teaching.rwr.segmented import SegmentOptions, SSAProgress, segmented_answer, segmented_answers

TOKENIZER = byte_tokenizer()
FACTS = ["The code of anna is 17.", "The code of bert is 23.", "The code of anna is now 99."]
FILLER = "Nothing of note was said here by anyone at all.\n\n"


def model(kind: str = "mamba2") -> Any:
    torch.manual_seed(3)
    small = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "initializer_range": 0.3}
    if kind == "transformers-mamba2":
        config = Mamba2Config(**small, num_heads=4, head_dim=8, state_size=8, n_groups=1, chunk_size=16)
        return Mamba2ForCausalLM(config).eval()
    if kind == "transformers-mamba":
        return MambaForCausalLM(MambaConfig(**small, state_size=4)).eval()
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2, intermediate_size=16)).eval()
    layers = [{"mixer": "mamba2", "head_width": 8, "state": 8}]
    return MnemicForCausalLM(
        MnemicConfig(VOCABULARY, 16, 1, layers=layers, init="normal", initializer_range=0.3)
    ).eval()


class Reader:
    """Stands for a model that has learned the layout: it notes the facts of a name, and answers with the last."""

    def __init__(self, note: Any = None) -> None:
        self.prompts: list[str] = []
        self.note = note or (lambda facts: " ".join(facts) if facts else "Empty.")

    def __call__(self, _model: Any, prompts: Sequence[Any], _decoding: Any, _ends: Any, **_: Any) -> list[list[int]]:
        return [TOKENIZER.encode(self.reply(TOKENIZER.decode(prompt))) for prompt in prompts]

    def reply(self, prompt: str) -> str:
        self.prompts.append(prompt)
        context = re.search("<context>(.*)</context>", prompt, re.DOTALL)[1]
        name = re.search("<query>(.*)</query>", prompt, re.DOTALL)[1].strip()
        facts = re.findall(rf"The code of {name} is[^.]*\.", context)
        if "Do not answer" in prompt:
            return "Summary: " + self.note(facts)
        return "Answer: " + (re.findall(r"\d+", facts[-1])[0] if facts else "unanswerable")


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    made = Reader()
    monkeypatch.setattr(segmented, "complete", made)
    return made


LONG = FILLER.join(["", *(fact + "\n\n" for fact in FACTS), ""])


def test_notes_keep_their_order_and_empty_ones_are_dropped(reader: Reader) -> None:
    result = segmented_answer(model(), TOKENIZER, LONG, "anna", SegmentOptions(segment_tokens=60))
    assert result.answer == "99"
    assert result.notes == [FACTS[0], FACTS[2]]
    assert [FACTS[i] in LONG[start:end] for i, (start, end) in zip((0, 2), result.spans, strict=True)] == [True] * 2
    assert result.segments > len(result.notes)
    assert result.prefill_tokens == sum(len(TOKENIZER.encode(prompt)) for prompt in reader.prompts)
    assert (result.rounds, result.overlong) == (1, False)


def test_what_no_segment_holds_is_unanswerable_and_nothing_more_is_asked(reader: Reader) -> None:
    result = segmented_answer(model(), TOKENIZER, LONG, "carl", SegmentOptions(segment_tokens=60))
    assert (result.answer, result.notes, result.spans) == ("unanswerable", [], [])
    assert all("Do not answer" in prompt for prompt in reader.prompts)
    assert segmented_answer(model(), TOKENIZER, "", "anna").answer == "unanswerable"


def test_segments_leave_room_for_the_query_and_the_note(reader: Reader) -> None:
    options = SegmentOptions(training_tokens=700, note_tokens=100)
    segmented_answer(model(), TOKENIZER, LONG * 5, "anna", options)
    notes = [prompt for prompt in reader.prompts if "Do not answer" in prompt]
    lengths = [len(TOKENIZER.encode(prompt)) for prompt in notes]
    assert max(lengths) <= 600
    assert min(lengths[:-1]) > 450, "segments are filled"
    with pytest.raises(UsageError, match="leaves nothing"):
        segmented_answer(model(), TOKENIZER, LONG, "anna" * 200, options)


def test_notes_that_are_too_long_are_noted_again(reader: Reader) -> None:
    padding = " (padded so)" * 4
    reader.note = lambda facts: (
        facts[-1] + (padding if len(facts) == 1 and "<" not in facts[0] else "") if facts else ""
    )
    options = SegmentOptions(training_tokens=700, segment_tokens=150, note_tokens=100)
    result = segmented_answer(model(), TOKENIZER, LONG * 8, "anna", options)
    assert result.answer == "99"
    assert result.rounds > 1
    assert not result.overlong
    assert len(result.notes) == len(result.spans) >= 8


def test_notes_that_do_not_get_shorter_end_the_rounds_and_it_is_said(reader: Reader) -> None:
    reader.note = lambda facts: " ".join(facts * 2) if facts else "empty"
    options = SegmentOptions(training_tokens=500, segment_tokens=150, note_tokens=100)
    result = segmented_answer(model(), TOKENIZER, LONG * 8, "anna", options)
    assert result.overlong
    assert result.answer == "99"


def test_progress_says_how_much_was_read(reader: Reader) -> None:
    said: list[SSAProgress] = []
    options = SegmentOptions(segment_tokens=60, batch_size=1)
    result = segmented_answer(model(), TOKENIZER, LONG * 6, "bert", options, said.append)
    shares = [one.share for one in said]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1, abs=0.01)
    assert said[-1].segments == result.segments


@pytest.mark.parametrize("kind", ["mamba2", "transformers-mamba2", "transformers-mamba", "llama"])
def test_a_batch_of_segments_is_noted_as_each_would_be_alone(kind: str) -> None:
    made, form = model(kind), TextForm(model(kind), TOKENIZER)
    prompts = [form.note_prompt(text, "anna") for text in ("a", LONG[:90], LONG[:31], LONG[40:77])]
    decoding, alone, speed = Decoding(max_new_tokens=7), [], Speed()
    for prompt in prompts:
        alone += complete(made, [prompt], decoding, form.note_ends)
    assert complete(made, prompts, decoding, form.note_ends, batch_size=3, speed=speed) == alone
    assert (speed.prefill_tokens, speed.decode_tokens) == (sum(map(len, prompts)), sum(map(len, alone)))
    options = SegmentOptions(segment_tokens=70, note_tokens=4, answer_tokens=4)
    whole = [segmented_answer(made, TOKENIZER, LONG, q, options).notes for q in ("anna", "bert")]
    together = segmented_answers(made, form, [LONG, LONG], ["anna", "bert"], options)
    assert [result.notes for result in together] == whole


def test_rows_of_tokens_are_segmented_without_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts are pairs (key, value), the query is a key, the note the pair, the answer the value."""
    marks = {"note": 250, "answer": 251}
    seen: list[int] = []

    def reads(_model: Any, prompts: Sequence[Any], *_: Any, **__: Any) -> list[list[int]]:
        written = []
        for *context, key, wanted in prompts:
            found = [[k, v] for k, v in itertools.pairwise(context) if k == key]
            seen.append(len(context))
            written.append([] if not found else found[0] if wanted == marks["note"] else found[0][1:])
        return written

    monkeypatch.setattr(segmented, "complete", reads)
    form = TokenForm(
        make_note_prompt=lambda part, query: [*part, *query, marks["note"]],
        make_answer_prompt=lambda notes, query: [*notes, *query, marks["answer"]],
        read_note=lambda written: written,
        note_ends=[0],
        answer_ends=[0],
        unanswerable=[255],
    )
    context = [9] * 20 + [5, 77] + [9] * 30 + [6, 88]
    options = SegmentOptions(segment_tokens=8)
    results = segmented_answers(model(), form, [context] * 3, [[5], [6], [7]], options)
    assert [result.answer for result in results] == [[77], [88], [255]]
    assert results[0].spans == [(16, 24)]
    assert max(seen) == 8
    with pytest.raises(UsageError, match="one query a context"):
        segmented_answers(model(), form, [context], [], options)
