"""The engine without a server: a model and its tokenizer, requests, and someone who listens to them."""

import threading
from dataclasses import dataclass, field
from typing import Any

import torch
from taught_checkpoint import shared_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemic.teaching.memento.decoding import Prompt
from mnemic.teaching.memento.engine import Engine
from mnemic.teaching.memento.engine_sequences import Delta, Event, Failed, Finished, Request, Sampling, Statistics
from mnemic.teaching.memento.generation import memento_generate
from mnemic.teaching.memento.memento_file import read_memento_file
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["QUESTIONS", "Engines", "Listener", "Parts", "ask", "load_parts"]

QUESTIONS = ["abc", "hello", "what is 3+4?", "a much longer question, to be padded", "x", "xyz"]


@dataclass
class Parts:
    model: Any
    tokenizer: Any
    markers: MarkerIds

    def prompt(self, question: str) -> Prompt:
        messages = [{"role": "user", "content": question}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return Prompt(self.tokenizer.encode(text))

    def alone(self, question: str, rules: MementoRules, tokens: int = 150, **options: Any) -> Any:
        return memento_generate(
            self.model,
            torch.tensor([self.prompt(question).ids]),
            rules=rules,
            markers=self.markers,
            max_new_tokens=tokens,
            do_sample=False,
            **options,
        )


@dataclass
class Listener:
    """Hears the events of one request."""

    text: dict[int, dict[str, str]] = field(default_factory=dict)
    ends: dict[int, Finished] = field(default_factory=dict)
    failed: str | None = None
    count: int = 1
    done: threading.Event = field(default_factory=threading.Event)
    first: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Delta):
            said = self.text.setdefault(event.index, {"reasoning": "", "content": ""})
            said[event.piece.channel] += event.piece.text
            self.first.set()
        elif isinstance(event, Finished):
            self.ends[event.index] = event
            if len(self.ends) == self.count:
                self.done.set()
        else:
            assert isinstance(event, Failed)
            self.failed = event.message
            self.done.set()

    def statistics(self, index: int = 0) -> Statistics:
        assert self.done.wait(60)
        assert self.failed is None
        return self.ends[index].statistics


def load_parts(tmp_path_factory: Any) -> Parts:
    folder = shared_checkpoint(tmp_path_factory)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return Parts(model, AutoTokenizer.from_pretrained(folder), read_memento_file(folder).marker_ids)


class Engines:
    """Makes engines and closes them."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.made: list[Engine] = []

    def __call__(self, rules: MementoRules | None = None, *, start: bool = True, **options: Any) -> Engine:
        given = {"markers": self.parts.markers, "rules": rules, "end_ids": [self.parts.tokenizer.eos_token_id]}
        self.made.append(Engine(self.parts.model, self.parts.tokenizer, **(given | options)))
        if start:
            self.made[-1].start()
        return self.made[-1]

    def close(self) -> None:
        for engine in self.made:
            engine.close()


def ask(engine: Engine, prompt: Prompt, **sampling: Any) -> tuple[Request, Listener]:
    heard = Listener(count=sampling.get("n", 1))
    request = Request(prompt, Sampling(**({"temperature": 0} | sampling)), heard)
    engine.submit(request)
    return request, heard
