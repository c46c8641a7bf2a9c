"""Tasks told in text: lengths, answers, evidence, and that rows and questions are one."""

import json
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mnemic.errors import UsageError
from mnemic.tasks import UNASKED, Examples, parse_task
from mnemic.tasks.haystacks import DEPTHS, fitted
from mnemic.tasks.needle import PRESETS

LENGTH = 1500
NEEDLES = [f"needle:preset={preset},length={LENGTH}" for preset in PRESETS]
OTHERS = [
    f"variable-tracking:length={LENGTH}",
    "phonebook:entries=12",
    "phonebook:entries=12,style=hyphen",
    f"frequent-words:length={LENGTH}",
    f"frequent-words:kind=zipf,length={LENGTH}",
]

every_task = pytest.mark.parametrize("spec", NEEDLES + OTHERS)


@pytest.fixture(scope="module")
def paragraphs(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "boxes.jsonl"
    items = [
        {"question": f"What is in box {i}?", "answers": [f"thing{i}", "it"], "context": f"Box {i} holds thing{i}."}
        for i in range(40)
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return f"question-answering:{path},length=600"


@every_task
def test_rows_are_the_questions_and_the_oracle_answers_them(spec):
    task = parse_task(spec)
    rows, questions = task.sample("test", 30), task.questions("test", 30)
    assert (task.oracle(rows.input_ids) == rows.labels).all()
    for prompt, question in zip(task.render(rows), questions, strict=True):
        assert prompt.text.removesuffix(" =?") == question.text
        assert prompt.answers == (task.answer_text(question.answers),)
        assert task.solve(question.text) == (len(question.text), question.answers)


@every_task
def test_a_question_is_the_same_wherever_a_sample_starts(spec):
    task = parse_task(spec)
    assert task.questions("train", 300)[250:] == task.questions("train", 50, start=250)
    assert task.questions("train", 5, seed=1) != task.questions("train", 5)
    texts = [{q.text for q in task.questions(split, 40)} for split in ("train", "valid", "test")]
    assert len(set.union(*texts)) == 120, "splits share no question"


@every_task
def test_evidence_is_where_the_answers_stand(spec):
    task = parse_task(spec)
    for question in task.questions("valid", 20):
        said = [question.context[a:b] for a, b in question.evidence]
        assert bool(said) != spec.startswith("frequent")
        for answer in question.answers if said else ():
            assert any(answer in evidence for evidence in said)


@pytest.mark.parametrize("spec", NEEDLES + OTHERS[:1] + OTHERS[3:])
@pytest.mark.parametrize("tokenizer", ["byte", "approximate"])
def test_prompts_are_as_long_as_they_may_be(spec, tokenizer):
    task = parse_task(f"{spec},tokenizer={tokenizer}")
    size = (lambda text: len(text)) if tokenizer == "byte" else (lambda text: -(-len(text) // 4))
    for question in task.questions("test", 5):
        spare = LENGTH - size(question.text) - question.max_tokens
        assert 0 <= spare < 0.15 * LENGTH


@pytest.mark.parametrize("spec", NEEDLES)
def test_needles_stand_where_the_preset_says(spec):
    task = parse_task(spec)
    preset = PRESETS[task.preset]
    for question in task.questions("train", 20):
        told = re.findall(r"One of the special values for (\S+) is (\S+)\.", question.context)
        keys, values = preset.get("keys", 1), preset.get("values", 1)
        assert len({key for key, _ in told}) == len({value for _, value in told}) // values
        assert len(told) == keys * values or (preset["haystack"] == "needles" and len(told) > 5)
        assert len(question.answers) == preset.get("queries", 1) * values
        wanted = {"number": r"\d{7}", "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"}[preset["value_type"]]
        assert all(re.fullmatch(wanted, value) for _, value in told)
        assert all(answer not in question.query + question.prefix for answer in question.answers)


def test_depths_are_the_forty_and_even():
    task = parse_task("needle:preset=single_2,length=3000,tokenizer=byte")
    depths = [question.slices["depth"] for question in task.questions("train", 600)]
    assert chisquare(np.histogram(depths, bins=10, range=(-0.5, 100.5))[0]).pvalue > 1e-4
    assert len(set(depths)) > DEPTHS / 3
    fixed = parse_task("needle:preset=multikey_1,length=3000,depth=25")
    assert all(abs(question.slices["depth"] - 25) <= 3 for question in fixed.questions("train", 20))


def test_the_order_of_needles_is_fresh_in_every_row():
    """RULER shuffles with a generator that is seeded anew for every row: one order for all."""
    task = parse_task("needle:preset=multiquery,length=3000")
    orders = Counter(tuple(np.argsort([a for a, _ in q.evidence]).tolist()) for q in task.questions("train", 400))
    assert len(orders) == 24


def test_a_haystack_of_ones_own(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"This is sentence number {n}." for n in range(300)))
    task = parse_task(f"needle:length=1200,corpus={path}")
    first = task.questions("test", 1)[0]
    numbers = [int(n) for n in re.findall(r"sentence number (\d+)\.", first.context)]
    assert all((b - a) % 300 == 1 for a, b in pairwise(numbers))
    before = task.hash()
    path.write_text("Another text. " * 100)
    from mnemic.tasks.haystacks import corpus_sentences

    corpus_sentences.cache_clear()
    assert task.hash() != before


@settings(max_examples=50, deadline=None)
@given(
    limit=st.integers(60, 2000),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    hidden=st.lists(st.integers(1, 20), min_size=1, max_size=4),
)
def test_the_largest_haystack_that_fits_is_found(limit, sizes, hidden):
    """By brute force: one more piece is too much, for pieces of any size."""
    needles = ["N" * size for size in hidden]

    def build(units):
        return "|".join([*("h" * sizes[i % len(sizes)] for i in range(units)), *needles])

    if len(build(1)) > limit:
        with pytest.raises(UsageError, match="larger length"):
            fitted(lambda n: "h" * sizes[n % len(sizes)], "|", needles, lambda n: [n] * len(needles), str, len, limit)
        return
    found = fitted(lambda n: "h" * sizes[n % len(sizes)], "|", needles, lambda n: [n] * len(needles), str, len, limit)
    assert found.context == build(found.units)
    assert len(build(found.units)) <= limit < len(build(found.units + 1))
    assert [found.context[a:b] for a, b in found.spans] == needles


def test_numbers_of_a_phonebook_are_those_of_its_law():
    task = parse_task("phonebook:entries=5")
    numbers = [re.findall(r": (\d{10})$", q.context, re.MULTILINE) for q in task.questions("train", 2000)]
    assert all(len(row) == 7 for row in numbers)
    firsts = Counter(row[0][0] for row in numbers)
    assert set(firsts) == set("6789")
    assert chisquare(list(firsts.values())).pvalue > 1e-4
    asked = Counter(q.slices["age_rank"] for q in task.questions("train", 2000))
    assert chisquare([asked[i] for i in range(5)]).pvalue > 1e-4
    assert chisquare(np.bincount([int(row[0][4]) for row in numbers], minlength=10)).pvalue > 1e-4


@pytest.mark.parametrize("kind", ["common", "zipf"])
def test_frequent_words_come_most_often_and_their_counts_are_clear(kind):
    for question in parse_task(f"frequent-words:kind={kind},length=3000").questions("train", 20):
        words = question.context.partition("\n")[2].split()
        counts = Counter(w for w in words if not re.fullmatch(r"\d+\.|\.\.\.", w))
        top, rest = counts.most_common(len(question.answers)), counts.most_common()[len(question.answers) :]
        assert [word for word, _ in top] == list(question.answers)
        assert top[-1][1] > rest[0][1]
        if kind == "zipf":
            assert len({n for _, n in top}) == len(top), "no ties"


def test_questions_of_ones_own_stand_among_others(paragraphs):
    task = parse_task(paragraphs)
    rows = task.sample("test", 30)
    assert (task.oracle(rows.input_ids) == rows.labels).all()
    asked = {split: {q.query for q in task.questions(split, 60)} for split in ("train", "valid", "test")}
    assert not asked["train"] & asked["test"]
    assert not asked["valid"] & asked["test"]
    for question in task.questions("train", 20):
        ((a, b),) = question.evidence
        assert question.answers[0] in question.context[a:b]
        assert question.context.count("Document ") == question.slices["documents"]
        assert 600 - 40 < len(question.text) + question.max_tokens <= 600
        assert question.scoring == "any"


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_sample_is_several(split):
    task = parse_task("needle:preset=multikey_2,length=700")
    whole = task.sample(split, 60, seed=2)
    parts = Examples.concat([task.sample(split, 20, 2, start) for start in (0, 20, 40)])
    assert (whole.input_ids == parts.input_ids).all()
    assert (whole.labels == parts.labels).all()
    assert not (whole.labels[~whole.attention_mask] != UNASKED).any()


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("needle:preset=single_4", ["preset=single_4", "'multikey_1'"]),
        ("needle:queries=3,keys=2", ["queries=3", "keys=2"]),
        ("needle:keys=20,values=20", ["keys=20", "values=20", "40"]),
        ("needle:haystack=corpus", ["corpus=PATH"]),
        ("needle:preset=single_1,corpus=x", ["corpus=x", "noise"]),
        ("needle:form=tokens,length=16,keys=9", ["length=16", "at least"]),
        ("needle:form=tokens,preset=multikey_2,length=4096", ["pool=512"]),
        ("variable-tracking:ask_for=variable", ["ask_for=variable", "form=tokens"]),
        ("variable-tracking:form=tokens,chains=9,hops=9", ["variables=90"]),
        ("phonebook:entries=2", ["entries=2", "greater than or equal to 3"]),
        ("phonebook:form=tokens,style=hyphen", ["style=hyphen", "form=text"]),
        ("frequent-words:kind=zipf,often=4", ["'often'", "kind=common"]),
        ("frequent-words:often=2,rarely=3", ["rarely=3", "often=2"]),
        ("frequent-words:form=tokens,length=64", ["60 words", "more length"]),
        ("question-answering:x.jsonl,form=tokens", ["no form=tokens"]),
    ],
)
def test_wrong_options_name_the_value_and_what_would_be_right(spec, parts):
    with pytest.raises(UsageError) as raised:
        parse_task(spec)
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("needle:length=100", ["the prompt alone", "larger length"]),
        ("frequent-words:length=60", ["length=60", "too short"]),
        ("question-answering:nowhere.jsonl", ["nowhere.jsonl"]),
        ("needle:form=tokens,length=64", ["form=tokens"]),
    ],
)
def test_what_cannot_be_asked_says_why(spec, parts):
    with pytest.raises(UsageError) as raised:
        parse_task(spec).questions("test", 1)
    for part in parts:
        assert part in str(raised.value)


def test_a_line_that_is_no_question_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"question": "a?", "answers": ["b"]}\n')
    with pytest.raises(UsageError, match=r"line 1 of .*bad\.jsonl.*context"):
        parse_task(f"question-answering:{path}").questions("test", 1)
