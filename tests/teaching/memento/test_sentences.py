"""Sentences are spans that make up the source, whatever it is; the rules, by example."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.teaching.memento.sentences import split_sentences
from mnemic.teaching.memento.splitting import split

PIECES = st.sampled_from(
    [
        "The value is found. ", "Is it? ", "x = 3.14 ", "```\ncode. More. \n```\n", "$$ a. b $$", "\\[ x \\]",
        "(see. it)", "\n\n", "\n", "- item. ", "1. first ", "    x = 1;\n", "e.g. ", "Dr. Who ", "...", "!",
        "**bold. text** ", "$a. b$", "\\begin{align} x. \\end{align}", "So y = 2. ", ":", " ", "\t", "https://a.b/c. ",
        "[", "}", "`", "$", "\u2028", "é. ",
    ]
)  # fmt: skip


def pieces(text, spans):
    return [span.of(text) for span in spans]


def assert_whole(text, spans):
    assert "".join(pieces(text, spans)) == text
    assert all(span.start < span.end for span in spans)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters()))
def test_any_text_is_kept(text):
    assert_whole(text, split_sentences(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_text_like_a_trace_is_kept(text):
    assert_whole(text, split(text))
    assert_whole(text, split_sentences(text))


def test_nothing_gives_nothing():
    assert split_sentences("") == []
    assert pieces(" \n\n ", split_sentences(" \n\n ")) == [" \n\n "]


FIRST = "This opening sentence has quite enough words to stand alone. "
LAST = "And this is the last one of the whole little text."


def middle(text):
    """The sentences that a text becomes between two plain ones, before merging."""
    whole = FIRST + text + LAST
    found = pieces(whole, split(whole))
    assert found[0].startswith("This opening")
    return found


@pytest.mark.parametrize(
    "kept",
    [
        "We get 3.14 for it, or 2.718 for the other",
        "Take a prime, e.g. Seven, or another, i.e. Eleven",
        "As Dr. Smith and Prof. Jones say in Fig. Two",
        "Compare it w.r.t. Time and cf. Space for more",
        "J. R. Tolkien wrote something about that",
        "Look at https://example.org/a.b?c=d!e for it",
        "Call numpy.linalg.norm or list.append for it",
        "The file data.tar.gz holds what we need",
        "Here 5! = 120 and 6! / 5! = 6 are of use",
        "Since a != b we go on with both of them",
        "Hmm... That is not right, wait... It is",
        "The set (a. B or c? D) is given to us",
        "The list [one. Two! Three] is given to us",
        "The set {one. Two} is given to us",
        "We write $f(x). G(x)$ for the pair",
        "We write \\(f(x). G(x)\\) for the pair",
        "Mark **the first. And second** in the text",
        "Then f(n!) is what the number no. 5 on p. 7 says",
        "Run `a. B` in the shell of your choice",
    ],
)
def test_full_stops_that_end_nothing(kept):
    assert middle(f"{kept}. ") == [FIRST, f"{kept}. ", LAST]


def test_ends_of_sentences():
    text = 'One thing is here. Is it really? Yes! He said "no." (Or not.) So it goes.'
    assert pieces(text, split(text)) == [
        "One thing is here. ", "Is it really? ", "Yes! ", 'He said "no." ', "(Or not.) ", "So it goes."
    ]  # fmt: skip


def test_white_space_belongs_to_what_it_follows():
    text = "  One is here.   Two is there.\n\n\nThree is elsewhere\n\nFour"
    assert pieces(text, split(text)) == [
        "  One is here.   ", "Two is there.\n\n\n", "Three is elsewhere\n\n", "Four"
    ]  # fmt: skip


def test_list_markers_end_nothing():
    text = "1. The first thing. \n2. The second thing. \nA. The third thing. "
    assert pieces(text, split(text)) == ["1. The first thing. \n", "2. The second thing. \n", "A. The third thing. "]


@pytest.mark.parametrize(
    "atom",
    [
        "```python\nx = 1. \n\ny = f(2). Z\n```\n",
        "~~~\nA. B. C\n\n~~~\n",
        "$$\na = b. C = d\n$$\n",
        "\\[ a = b. \\quad C = d. \\]\n",
        "\\begin{align}\na &= b. \\\\\nC &= d.\n\\end{align}\n",
        "    for i in range(3):\n        x = 2.\n    y = f(x)\n    return y\n",
        "x + y = 3\n2x - y = 0\n",
    ],
)
def test_atoms_are_never_cut(atom):
    whole = f"{FIRST}\n{atom}\n{LAST}"
    start = whole.index(atom.rstrip("\n"))
    end = start + len(atom.rstrip("\n"))
    for spans in (split(whole), split_sentences(whole)):
        assert not [span for span in spans if start < span.start < end]
    assert any(span.start <= start < span.end and span.of(whole).strip() == atom.strip() for span in split(whole))


def test_an_open_fence_or_bracket_does_not_swallow_the_rest():
    for opened in ("```python\nx = 1\n\n", "$$ a + b\n\n", "( it begins. ", "[see. "):
        whole = f"{opened}{FIRST}{LAST}"
        assert len(split(whole)) >= 2


def merged(*sentences):
    return [piece.strip() for piece in pieces(" ".join(sentences), split_sentences(" ".join(sentences)))]


A = "The first of these sentences talks about nothing in particular at all."
B = "The second of these sentences talks about something else entirely."


LONG = "the other side, which took us rather a long while, " * 5


def test_plain_sentences_stay_apart():
    assert merged(A, B) == [A, B]


@pytest.mark.parametrize(
    "together",
    [
        ("Now we look at what follows from all of that:", B),
        (A, "Right then."),
        ("Hmm, wait.", A),
        (A, ") as was said before by somebody else."),
        (f"We have $x = 4$ by {LONG}and it was right.", "Therefore $y = x + 1$ follows for the unknown."),
        ("- one item of the list that is long enough.\n", "- another item of the list, long enough too."),
        ("1. Take the first number out of the box.\n", "2. Put it back into the other box."),
        ("Step 1: take the first number out of the box.", "Step 2: put it back into the other box."),
        ("So x + 1 = 5 holds for it.", "And y - 2 = 7 holds as well."),
    ],
)  # fmt: skip
def test_what_belongs_together(together):
    joined = merged(*together)
    assert len(joined) == 1, joined


@pytest.mark.parametrize("end", [".", ""])
def test_a_long_list_is_not_one_sentence(end):
    items = "\n".join(f"- item number {i} says a little about the things in the world{end}" for i in range(60))
    assert 2 <= len(split_sentences(items)) < 30
    assert len(split(items)) == 60
