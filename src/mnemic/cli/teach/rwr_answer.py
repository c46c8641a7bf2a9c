"""`mnemic teach rwr answer`: questions on a context, by notes, at once, or in segments."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mnemic.cli.teach.parameters import Decimate
from mnemic.errors import UsageError

__all__ = ["command"]

_SAID_EVERY = 5.0


@click.command("answer", context_settings={"show_default": True})
@click.argument("checkpoint")
@click.option("--context", type=click.Path(path_type=Path), required=True, help="File of text to answer from.")
@click.option("--question", help="One question.")
@click.option("--questions", type=click.Path(path_type=Path), help="File of questions: .jsonl, or one a line.")
@click.option(
    "--mode",
    type=click.Choice(["note", "direct", "segments"]),
    default="note",
    help="A note and then the answer; the answer at once; or notes on segments, and the answer from them.",
)
@click.option(
    "--query-position",
    type=click.Choice(["after", "before", "both"]),
    show_default="as taught, else after",
    help="Where the question stands; after it, the context is read once for all questions.",
)
@click.option(
    "--decimate",
    type=Decimate(),
    metavar="KEEP[,LAYER]",
    help="DeciMamba: so many tokens of a prompt go on behind a layer of Mamba; without LAYER, the middle one.",
)
@click.option(
    "--training-tokens",
    type=click.IntRange(8),
    show_default="by its rwr.json, else 6000",
    help="Tokens of the rows it was trained on.",
)
@click.option("--segment-tokens", type=click.IntRange(1), help="Of a segment; otherwise what training-tokens leave.")
@click.option("--note-tokens", type=click.IntRange(1), default=256, help="Written as a note, at most.")
@click.option("--answer-tokens", type=click.IntRange(1), default=128, help="Written as an answer, at most.")
@click.option("--batch-size", type=click.IntRange(1), default=8, help="Questions or segments that run at once.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, help="0: the likeliest token each time.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the sampling.")
@click.option("--device", default="auto", help="auto: a GPU where there is one.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    checkpoint: str,
    context: Path,
    question: str | None,
    questions: Path | None,
    mode: str,
    query_position: str | None,
    decimate: dict[str, int] | None,
    training_tokens: int | None,
    segment_tokens: int | None,
    note_tokens: int,
    answer_tokens: int,
    batch_size: int,
    temperature: float,
    seed: int,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Let CHECKPOINT, any causal model, answer questions on a text.

    \b
    mnemic teach rwr answer my-model --context diary.txt --question "Who is Nimbus?"
    mnemic teach rwr answer my-model --context diary.txt --questions asked.jsonl --mode segments --json
    """
    from mnemic.teaching.memento.served_model import load_served_model
    from mnemic.teaching.rwr.decimation import Decimation, decimated
    from mnemic.teaching.rwr.questions import Question, read_questions, read_text
    from mnemic.teaching.rwr.rwr_file import as_taught

    if (question is None) == (questions is None):
        raise UsageError("give either --question TEXT or --questions FILE")
    asked = read_questions(questions) if questions is not None else [Question("1", str(question))]
    text = read_text(context)
    served = load_served_model(checkpoint, device=device, dtype=dtype)
    taught = as_taught(checkpoint, query_position, training_tokens)
    sampling = {"temperature": temperature, "seed": seed}
    decimation = Decimation(**decimate) if decimate is not None else None
    reading = decimated(served.model, decimation) if decimation is not None else nullcontext()
    if mode == "segments":
        options = {
            "training_tokens": taught.training_tokens, "segment_tokens": segment_tokens, "note_tokens": note_tokens,
            "answer_tokens": answer_tokens, "batch_size": batch_size,
        }  # fmt: skip
        with reading:
            said = _in_segments(served, text, asked, taught.query_position, {**options, **sampling})
    else:
        tokens = answer_tokens + (note_tokens if mode == "note" else 0)
        decoding = {"max_new_tokens": tokens, **sampling}
        with reading:
            said = _in_one_pass(served, text, asked, taught.query_position, mode, decoding, batch_size)
    if as_json:
        from mnemic.teaching.rwr.state_size import state_bytes_if_any

        head = {"checkpoint": checkpoint, "mode": mode, "state_bytes": state_bytes_if_any(served.model)}
        dropped = {} if decimation is None else {"decimation": decimation.model_dump()}
        click.echo(json.dumps({**head, **dropped, **said}))
        return
    for one in said["results"]:
        click.echo(f"\n{one['question']}")
        for note in [one["summary"]] if "summary" in one else one["notes"]:
            click.echo(f"  note: {note}")
        click.echo(f"  {one['answer'] or '(it wrote no answer)'}")


def _in_one_pass(
    served: Any, text: str, asked: Any, position: Any, mode: str, decoding: dict[str, Any], batch_size: int
) -> dict[str, Any]:
    from mnemic.teaching.rwr.answering import answer_questions
    from mnemic.teaching.rwr.completion import Decoding

    done = answer_questions(
        served.model, served.tokenizer, text, [one.text for one in asked],
        mode="summary+answer" if mode == "note" else "answer", query_position=position,
        decoding=Decoding(**decoding), batch_size=batch_size,
    )  # fmt: skip
    results = [
        {
            "id": one.id,
            "question": one.text,
            "answer": answered.reply.answer,
            "abstained": answered.reply.is_abstention,
            **({"summary": answered.reply.summary} if mode == "note" else {"notes": []}),
            "text": answered.text,
            "tokens": answered.tokens,
        }
        for one, answered in zip(asked, done.answered, strict=True)
    ]
    return {"speed": done.speed.as_json(), "results": results}


def _in_segments(served: Any, text: str, asked: Any, position: Any, options: dict[str, Any]) -> dict[str, Any]:
    from mnemic.teaching.rwr.canon import is_abstention
    from mnemic.teaching.rwr.completion import Speed
    from mnemic.teaching.rwr.segment_forms import TextForm
    from mnemic.teaching.rwr.segmented import SegmentOptions, SSAProgress, segmented_answers

    last = time.monotonic()

    def say(progress: SSAProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= _SAID_EVERY:
            last = time.monotonic()
            click.echo(f"round {progress.round}: {progress.segments:,} segments, {progress.share:.0%} read", err=True)

    speed, form = Speed(), TextForm(served.model, served.tokenizer, query_position=position)
    queries, chosen = [one.text for one in asked], SegmentOptions(**options)
    done = segmented_answers(served.model, form, [text] * len(asked), queries, chosen, say, speed)
    for one, result in zip(asked, done, strict=True):
        if result.overlong:
            click.echo(
                f"{one.id}: its notes got no shorter; the answer is from more than {chosen.training_tokens:,} tokens",
                err=True,
            )
    return {
        "speed": speed.as_json(),
        "results": [
            {"id": one.id, "question": one.text, "abstained": is_abstention(result.answer), **asdict(result)}
            for one, result in zip(asked, done, strict=True)
        ],
    }
