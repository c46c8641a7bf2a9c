"""`mnemic teach`: give a model that is there already a memory of its own, by the data it is tuned on."""

from __future__ import annotations

import click

from mnemic.cli.lazy import LazyGroup

__all__ = ["MEMENTO", "RWR", "command"]

MEMENTO = {
    "build": ("mnemic.cli.teach.build", "Give reasoning traces their blocks and mementos, with a teacher model."),
    "validate": ("mnemic.cli.teach.validate", "Check a file of traces, and show its lengths and ratios."),
    "stats": ("mnemic.cli.teach.stats", "Figures of a file of traces, domain by domain."),
    "train": (
        "mnemic.cli.teach.train",
        "Tune a model on traces: their form first, then to do without what is summarised.",
    ),
    "probe": (
        "mnemic.cli.teach.probe",
        "What a taught model's mementos carry beyond their text: a passcode, looked for in their keys.",
    ),
    "generate": ("mnemic.cli.teach.generate", "Let a taught model write, its blocks evicted as it goes."),
    "measure": ("mnemic.cli.teach.measure", "What eviction saves a taught model, beside full attention."),
    "export": ("mnemic.cli.teach.export", "Copy a taught model with its template and memento.json, for a server."),
}

RWR = {
    "build": ("mnemic.cli.teach.rwr_build", "Give questions about contexts their notes, with a teacher model."),
    "validate": ("mnemic.cli.teach.rwr_validate", "Check a file of notes, and show its lengths and kinds."),
    "train": ("mnemic.cli.teach.rwr_train", "Tune a model on notes and answers, or on answers alone for a control."),
    "answer": ("mnemic.cli.teach.rwr_answer", "Answer questions on a text: by a note, at once, or in segments."),
    "evaluate": ("mnemic.cli.teach.rwr_evaluate", "Score answers about long histories: LongMemEval, HELMET, ConvoMem."),
    "compare": ("mnemic.cli.teach.rwr_compare", "What changed between two evaluations, question by question."),
}


@click.group("teach")
def command() -> None:
    """Teach a model to use a memory: build the data, tune, generate, measure, export."""


@command.group("memento", cls=LazyGroup, verbs=MEMENTO)
def memento() -> None:
    """MEMENTO: a model that writes notes on blocks of its reasoning, and then forgets the blocks.

    \b
    mnemic teach memento build synthetic:count=20 --teacher oracle --output data
    mnemic teach memento validate data/traces.jsonl
    """


@command.group("rwr", cls=LazyGroup, verbs=RWR)
def rwr() -> None:
    """Recall with Reasoning: a model that notes what its memory holds on a question before it answers.

    \b
    mnemic teach rwr build histories:count=20,tokens=1000 --teacher oracle --output data
    mnemic teach rwr validate data/recall.jsonl
    mnemic teach rwr train data/recall.jsonl --model NAME --output runs/taught
    mnemic teach rwr answer my-model --context diary.txt --question "Who is Nimbus?"
    mnemic teach rwr evaluate my-model --data miniature:length=1000 --output scores
    """
