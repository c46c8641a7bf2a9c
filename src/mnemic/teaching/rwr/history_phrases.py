"""What the people of a history say: facts about themselves, and talk that holds none."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["ATTRIBUTES", "FIRST_NAMES", "LAST_NAMES", "Attribute", "small_talk"]

FIRST_NAMES = (
    "Ada", "Bela", "Chidi", "Dora", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kaito", "Lena", "Marek",
    "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tilda", "Umar", "Vera", "Wanda", "Yusuf",
)  # fmt: skip
LAST_NAMES = (
    "Abel", "Brook", "Castell", "Dahl", "Eklund", "Ferro", "Grant", "Holm", "Iversen", "Jansen", "Keller", "Lind",
    "Moss", "Novak", "Okoro", "Petrov", "Quist", "Reyes", "Sato", "Thorne", "Ueda", "Vance", "Winter", "Zeller",
)  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    """Something that a person has one of at a time. In texts, {p} is the person and {v} the value.

    Attributes:
        said: how they say it themselves; `noted`: how a diary has it.
        values: to draw from; none: numbers of four digits.
    """

    name: str
    said: tuple[str, ...]
    noted: str
    asked: str
    dated: str
    values: tuple[str, ...] = ()

    def draw(self, rng: random.Random, former: str | None) -> str:
        """A value other than the former one."""
        while True:
            value = rng.choice(self.values) if self.values else str(rng.randrange(1000, 10000))
            if value != former:
                return value

    def first_person(self, value: str, rng: random.Random) -> str:
        return rng.choice(self.said).format(v=value)

    def third_person(self, person: str, value: str) -> str:
        return self.noted.format(p=person, v=value)

    def question(self, person: str) -> str:
        return self.asked.format(p=person)

    def when(self, person: str, value: str) -> str:
        return self.dated.format(p=person, v=value)


ATTRIBUTES = (
    Attribute(
        "home",
        ("I live in {v} now.", "My flat is in {v} these days.", "From today my home is {v}."),
        "{p} now lives in {v}.",
        "In which town does {p} live, by the latest word?",
        "On which day was it first said that {p} lives in {v}?",
        ("Lisbon", "Tampere", "Graz", "Bergen", "Valencia", "Leipzig", "Porto", "Gdansk", "Utrecht", "Bologna"),
    ),
    Attribute(
        "instrument",
        ("I am taking lessons on the {v}.", "The instrument I play now is the {v}."),
        "{p} now plays the {v}.",
        "Which instrument does {p} play, by the latest word?",
        "On which day was it first said that {p} plays the {v}?",
        ("cello", "oboe", "accordion", "harp", "trombone", "banjo", "clarinet", "viola", "flute", "tuba"),
    ),
    Attribute(
        "dish",
        ("The dish I like best is {v} now.", "Nothing beats {v}, that is my favourite dish."),
        "{p}'s favourite dish is now {v}.",
        "What is {p}'s favourite dish, by the latest word?",
        "On which day was it first said that {p} likes {v} best?",
        ("ramen", "goulash", "paella", "pierogi", "lasagne", "moussaka", "biryani", "ratatouille", "tacos", "fondue"),
    ),
    Attribute(
        "trade",
        ("I work as a {v} now.", "My new job is being a {v}."),
        "{p} now works as a {v}.",
        "What does {p} work as, by the latest word?",
        "On which day was it first said that {p} works as a {v}?",
        ("baker", "surveyor", "nurse", "welder", "translator", "gardener", "pilot", "tailor", "potter", "librarian"),
    ),
    Attribute(
        "pet",
        ("We keep a {v} at home now.", "The only animal in my house is a {v} now."),
        "{p} now keeps a {v}.",
        "Which animal does {p} keep, by the latest word?",
        "On which day was it first said that {p} keeps a {v}?",
        ("parrot", "tortoise", "spaniel", "ferret", "gecko", "hamster", "greyhound", "canary", "rabbit", "hedgehog"),
    ),
    Attribute(
        "locker",
        ("The code of my locker is {v} now.", "If you need my locker, its code is {v}."),
        "The code of {p}'s locker is now {v}.",
        "What is the code of {p}'s locker, by the latest word?",
        "On which day was it first said that {v} opens the locker of {p}?",
    ),
)

_TALK = (
    "The weather was {a} all week and nobody minded.",
    "I watched a {a} film about {b} and fell asleep before the end.",
    "Somebody should write down how to repair {b}; it took me hours.",
    "My neighbour told a {a} story about {b} again.",
    "There was a long queue at the market because of {b}.",
    "I read that {b} will cost more next year, which is hardly news.",
    "We talked about {b} until late and agreed on nothing.",
    "The bus was late, so I had time for a {a} book on {b}.",
)
_LIKE = ("mild", "dull", "strange", "pleasant", "noisy", "short", "famous", "quiet", "novel", "cheerful")
_ABOUT = (
    "bicycles", "old bridges", "tomatoes", "tram lines", "umbrellas", "chess clubs", "garden fences", "lighthouses",
    "paper boats", "street lamps", "coffee grinders", "wool", "ferries", "maps", "stamps", "windmills",
)  # fmt: skip


def small_talk(rng: random.Random, style: str) -> str:
    """A turn without any fact about anybody."""
    said = rng.choice(_TALK).format(a=rng.choice(_LIKE), b=rng.choice(_ABOUT))
    if style == "notes":
        return said
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}: {said}"
