"""The judge's score is the share of right answers, by generation as it is served."""

import pytest
import torch

from mnemic.teaching.answer_judge import answer_judge
from mnemic.teaching.memento.rules import MementoRules
from mnemic.teaching.records import Message, Segment, TraceRecord, write_jsonl
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.teaching.tokenised_traces import tokenise_traces
from mnemic.teaching.trace_rows import RowOptions, TraceRows
from mnemic.training.config import TrainConfig
from mnemic.training.loop import train


def trace(number: int) -> TraceRecord:
    """The answer repeats the prompt's word, by way of the memento."""
    word = f"w{number % 5}"
    segments = (
        Segment(kind="block", text=f" {word} w9 {word} ", block=0),
        Segment(kind="memento", text=f" {word} ", block=0),
    )
    prompt = (Message(role="user", content=f"{word} w{10 + number % 4}"),)
    return TraceRecord(id=f"t{number}", prompt=prompt, segments=segments, answer=f" {word} ")


@pytest.mark.parametrize("attention", ["full", "memento", "restart"])
def test_an_untaught_model_scores_nothing_and_a_taught_one_everything(tmp_path, tokenizer, make_model, attention):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [trace(number) for number in range(30)])
    rows = TeachingRows(
        TraceRows(tokenise_traces(path, tokenizer), RowOptions(attention=attention)), "traces", validation=0.2
    )
    judge = answer_judge(rows, tokenizer, MementoRules(), max_new_tokens=20, most=6, rows_at_once=4)
    model = make_model(vocab=60, seed=2)
    assert judge(model) == 0
    config = TrainConfig(
        steps=160, batch_size=12, lr=5e-3, warmup=5, eval_every=160, eval_rows=6, device="cpu", weight_decay=0.0
    )
    train(model, rows, config)
    assert judge(model) == 1
    with torch.no_grad():
        model.lm_head.weight[tokenizer.convert_tokens_to_ids("</think>")] = -10 * model.lm_head.weight.abs().max()
    assert judge(model) == 0, "reasoning that never ends is no answer"
