"""Generated corpora with questions whose evidence is known, as files in the layouts that users have."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

_PEOPLE = (
    "Anna Petrova",
    "Boris Lund",
    "Carla Weiss",
    "Dario Conti",
    "Elena Kask",
    "Farid Nasser",
    "Gita Rao",
    "Hugo Berg",
)
_TOWNS = ("Tartu", "Bergen", "Linz", "Siena", "Narva", "Tyre", "Pune", "Gavle")


def lines(path: Path, items: list[dict[str, Any]], zipped: bool = False) -> None:
    text = "".join(json.dumps(item) + "\n" for item in items).encode()
    if zipped:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(text))
    else:
        path.write_bytes(text)


def write_corpus(folder: Path, *, triples: bool = True, zipped: bool = False, filler: int = 20) -> Path:
    """Films, their directors and where those were born; questions need one passage, or two."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    passages, questions, stored = [], [], []
    for number, (person, town) in enumerate(zip(_PEOPLE, _TOWNS, strict=True)):
        film = f"Harbour {number + 2}"
        passages += [
            {"id": f"f{number}", "title": film, "text": f"{film} is a film. It was directed by {person}."},
            {"id": f"p{number}", "title": person, "text": f"{person} was born in {town} and works there."},
        ]
        stored += [
            {"id": f"f{number}", "entities": [film, person], "triples": [[film, "directed by", person]]},
            {"id": f"p{number}", "entities": [person, town], "triples": [[person, "born in", town]]},
        ]
        questions += [
            {"id": f"q{number}", "question": f"Who directed {film}?", "answer": person, "evidence": [f"f{number}"],
             "hops": 1},
            {"id": f"r{number}", "question": f"Where was the director of {film} born?", "answer": town,
             "evidence": [f"f{number}", f"p{number}"], "hops": 2},
        ]  # fmt: skip
    words = np.array(["river", "stone", "garden", "winter", "paper", "music", "bridge", "market", "engine", "window"])
    for number in range(filler):
        text = " ".join(random.choice(words, 12))
        passages.append({"id": f"x{number}", "title": f"Note {number}", "text": f"The {text}."})
    lines(folder / "corpus.jsonl", passages, zipped)
    lines(folder / "questions.jsonl", questions, zipped)
    if triples:
        lines(folder / "triples.jsonl", stored, zipped)
    return folder


def write_chat(path: Path, sessions: int = 6) -> Path:
    """What two people say they like, a session each day, questions among the turns."""
    things = ("sailing", "chess", "baking", "opera", "judo", "botany", "pottery", "surfing")[:sessions]
    items: list[dict[str, Any]] = []
    for day, thing in enumerate(things):
        time = f"2026-01-{day + 1:02d}T10:00:00Z"
        for actor, text in (
            ("Ann", f"How was your week, number {day}?"),
            ("Ben", f"I spent it on {thing}."),
            ("Ann", "Nice."),
        ):
            items.append({"session": f"day{day}", "actor": actor, "time": time, "text": text})
        items.append(
            {"question": f"Who spent a week on {thing}?", "answer": "Ben", "evidence": [f"day{day}:2"], "kind": "who"}
        )
    items.append({"question": "Does Ann like opera?", "evidence": ["day3"], "answerable": False, "kind": "none"})
    lines(path, items)
    return path
