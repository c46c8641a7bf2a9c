"""Small corpora for recall methods, and an encoder whose cosines can be worked out by hand."""

import numpy as np

from mnemic.storage.corpus_view import corpus_view
from mnemic.storage.extracted import Extracted
from mnemic.storage.records import NewFact
from mnemic.storage.rule_extraction import extract_by_rules
from mnemic.storage.terms import terms
from mnemic.storage.view import Passage


class BagOfWords:
    """One axis per stem that was ever met: the cosine is that of word counts."""

    name, revision, dim = "bag", "1", 512

    def __init__(self):
        self.axes = {}
        self.encoded = 0

    def encode(self, texts):
        self.encoded += len(texts)
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            for term in terms(text):
                vectors[row, self.axes.setdefault(term, len(self.axes))] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)


WIKI = [
    Passage("0", "Lothair II was a king. He was the son of Ermengarde of Tours.", "Lothair II"),
    Passage("1", "Ermengarde of Tours was married to Lothair I and died in 851.", "Ermengarde of Tours"),
    Passage("2", "The film Blue Harbour was directed by Anna Petrova in 1999.", "Blue Harbour (film)"),
    Passage("3", "Anna Petrova was born in Tallinn. She studied at Tartu University.", "Anna Petrova"),
    Passage("4", "Tallinn is the capital of Estonia. A film festival is held there.", "Tallinn"),
    Passage("5", "A harbour is a sheltered body of water where ships are moored.", "Harbour"),
    Passage("6", "Oslo is the capital of Norway. Its harbour is large.", "Oslo"),
]


def wiki(encoder=None):
    return corpus_view(
        WIKI, encoder=encoder or BagOfWords(), extracted=[extract_by_rules(p.title, p.text) for p in WIKI]
    )


CHAT = {
    "monday": ["Ann: How was the trip to the lake?", "Bob: Great, we saw two herons.", "Ann: Lovely weather too."],
    "tuesday": ["Ann: Did the doctor call?", "Bob: Yes, my knee needs rest.", "Ann: Poor you.", "Bob: It is fine."],
    "friday": ["Bob: I adopted a puppy!", "Ann: What is its name?", "Bob: Biscuit."],
    "sunday": ["Ann: The piano lessons begin again.", "Bob: Will you play at the concert?"],
}
SUMMARIES = {"monday": "Bob made a trip to a lake with birds.", "friday": "Bob has a new dog, a puppy."}


def chat(*, summaries=False, encoder=None):
    passages = [
        Passage(f"{day}/{i}", text, level="turn", session=day)
        for day, turns in CHAT.items()
        for i, text in enumerate(turns)
    ]
    if summaries:
        passages += [Passage(f"{day}/s", text, level="summary", session=day) for day, text in SUMMARIES.items()]
    return corpus_view(passages, encoder=encoder or BagOfWords())


FACTS = {
    0: [("Lothair II", "son of", "Ermengarde of Tours"), ("Lothair II", "was", "king")],
    1: [("Ermengarde of Tours", "married", "Lothair I"), ("Ermengarde of Tours", "died in", "851")],
    2: [("Blue Harbour", "directed by", "Anna Petrova"), ("Blue Harbour", "is", "Blue Harbour")],
    3: [("Anna Petrova", "born in", "Tallinn"), ("Anna Petrova", "studied at", "Tartu University")],
    4: [("Tallinn", "capital of", "Estonia"), ("tallinn", "Capital of", "Estonia!")],
    6: [("Oslo", "capital of", "Norway")],
}


def wiki_facts(encoder=None, synonym_threshold=None):
    extracted = [
        Extracted("given", {}, {}, tuple(NewFact(*fact) for fact in FACTS.get(i, []))) for i in range(len(WIKI))
    ]
    encoder = encoder or BagOfWords()
    return corpus_view(WIKI, encoder=encoder, extracted=extracted, synonym_threshold=synonym_threshold)
