"""Made-up data in the layouts of MuSiQue and LoCoMo, small enough to answer in no time."""

import json
from pathlib import Path
from typing import Any

__all__ = ["locomo_folder", "musique_folder"]

_PEOPLE = ["Anna Petrova", "Karl Brandt", "Mira Solano", "Tomas Velde", "Ilse Kantor", "Boris Hale"]
_TOWNS = ["Tallinn", "Bergen", "Quito", "Ghent", "Graz", "Derry"]
_LANDS = ["Estonia", "Norway", "Ecuador", "Belgium", "Austria", "Ireland"]
_FILMS = ["Blue Harbour", "Night Ferry", "Salt Garden", "Long Winter", "Paper Moth", "Iron Lake"]


def musique_folder(folder: Path) -> Path:
    """A film, who made it, where they were born, in which land that is: a chain for each of six films."""
    chains = list(zip(_FILMS, _PEOPLE, _TOWNS, _LANDS, strict=True))
    passages, triples, questions = [], [], []
    for film, person, town, land in chains:
        first = len(passages)
        facts = [(film, "directed by", person), (person, "born in", town), (town, "lies in", land)]
        for subject, predicate, object_ in facts:
            triples.append(
                {"idx": len(passages), "entities": [subject, object_], "triples": [[subject, predicate, object_]]}
            )
            passages.append({"idx": len(passages), "title": subject, "text": f"{subject} was {predicate} {object_}."})
        asked = [
            (2, f"In which town was the director of {film} born?", town),
            (3, f"In which land was the director of {film} born?", land),
        ]
        for hops, question, answer in asked:
            gold = [first + step for step in range(hops)]
            questions.append(
                {"id": f"{film} {hops}", "question": question, "answer": answer, "hops": hops, "supporting": gold}
            )
    inside = folder / "musique"
    inside.mkdir(parents=True)
    for name, data in (("corpus", passages), ("openie_made_up", triples), ("questions", questions)):
        (inside / f"{name}.json").write_text(json.dumps(data))
    return folder


def locomo_folder(folder: Path) -> Path:
    """Two conversations of eight sessions, each about a thing of its own; the last question has no answer."""
    things = ["puppy", "piano", "marathon", "garden", "passport", "telescope", "bakery", "canoe"]
    inside = folder / "locomo"
    inside.mkdir(parents=True)
    found = [_conversation(f"conv-{number}", things[number:] + things[:number]) for number in range(2)]
    (inside / "conversations.json").write_text(json.dumps(found))
    return folder


def _conversation(identity: str, things: list[str]) -> dict[str, Any]:
    spoken: dict[str, Any] = {"speaker_a": "Ann", "speaker_b": "Bob"}
    summaries, asked = {}, []
    for number, thing in enumerate(things, 1):
        said = [f"What is new with the {thing}?", f"The {thing} takes all my time.", "I can imagine.", "It is fun."]
        spoken[f"session_{number}_date_time"] = f"{number}:00 pm on {number} May, 2023"
        spoken[f"session_{number}"] = [
            {"speaker": ("Ann", "Bob")[place % 2], "dia_id": f"D{number}:{place + 1}", "text": text}
            for place, text in enumerate(said)
        ]
        summaries[f"session_{number}_summary"] = f"Bob spends his time on a {thing}."
        asked.append(
            {"question": f"Who has the {thing}?", "answer": "Bob", "evidence": [f"D{number}:2"],
             "category": 1 + number % 4}
        )  # fmt: skip
    asked[-1] |= {"category": 5, "adversarial_answer": "Ann"}
    return {"sample_id": identity, "conversation": spoken, "session_summary": summaries, "qa": asked}
