"""A generated text about people whose names come back: what can be recalled and what cannot is known by construction.

A paragraph draws a few people, each a first and a last name, and tells of them again and again. Which last name follows
a first name is settled anew in every paragraph, so that the pair is rare in training and only the window can tell it;
everything else follows from the word before.
"""

from pathlib import Path

import numpy as np
from numpy.random import Generator

__all__ = ["write_people_text"]

NAMES, VERBS, THINGS = 200, 20, 60
PEOPLE, SENTENCES = 5, 20
PARAGRAPHS = {"train": 3500, "valid": 100, "test": 250}


def write_people_text(folder: Path, seed: int) -> tuple[Path, Path]:
    """Write train.txt, valid.txt and test.txt, and a tokenizer that makes each word one token; the same for a seed.

    Returns:
        the folder of the text and the file of the tokenizer, as the task `text` takes them.
    """
    text = folder / "people"
    text.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 2312_04927])
    things_of = rng.dirichlet(np.full(THINGS, 0.1), size=VERBS)
    for split, count in PARAGRAPHS.items():
        paragraphs = (_paragraph(rng, things_of) for _ in range(count))
        (text / f"{split}.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    return text, _write_tokenizer(folder / "words.json")


def _paragraph(rng: Generator, things_of: np.ndarray) -> str:
    people = np.stack([rng.choice(NAMES, PEOPLE, replace=False) for _ in range(2)], axis=1)
    words: list[str] = []
    for first, last in people[rng.integers(PEOPLE, size=SENTENCES)]:
        verb = int(rng.integers(VERBS))
        thing = int(rng.choice(THINGS, p=things_of[verb]))
        words += [f"first{first}", f"last{last}", f"verb{verb}", f"thing{thing}", "."]
    return " ".join(words)


def _write_tokenizer(path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    counts = {"first": NAMES, "last": NAMES, "verb": VERBS, "thing": THINGS}
    words = ["?", ".", *(f"{kind}{n}" for kind, count in counts.items() for n in range(count))]
    model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="?")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
    return path
