"""JSON is found in what models wrap around it; what was cut short or is of another shape is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.llm.json_reply import UnreadableReply, read_json_reply
from mnemic.llm.json_schema import complaint_about, refuse_unknown_keywords

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
WRAPPINGS = [
    "{}", "  {}\n", "```json\n{}\n```", "```\n{}\n```", "Here you are:\n```json\n{}\n```\nAnything else?",
    "<think>[1, or {{2?</think>\n{}", "Sure! {} I hope this helps.",
]  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@settings(max_examples=40, deadline=None)
@given(value=st.lists(VALUES, max_size=4) | st.dictionaries(st.text(), VALUES, max_size=4))
def test_json_is_found_in_its_wrapping(wrapping, value):
    text = wrapping.replace("{{", "{").replace("{}", "%s") % json.dumps(value)
    assert read_json_reply(text, {}) == value


@settings(deadline=None)
@given(value=st.dictionaries(st.text(min_size=1), VALUES, min_size=1, max_size=4), data=st.data())
def test_what_is_cut_short_is_never_taken_for_whole(value, data):
    text = json.dumps(value)
    cut = data.draw(st.integers(0, len(text) - 1))
    for wrapping in ("%s", "```json\n%s", "Sure: %s"):
        with pytest.raises(UnreadableReply):
            read_json_reply(wrapping % text[:cut], {"type": ["object", "array"]})


@pytest.mark.parametrize("text", ["", "no", "[1, NaN]", "{'a': 1}", "[" * 50_000, "```json\n```"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(UnreadableReply, match="not valid JSON"):
        read_json_reply(text, {})


SCHEMA = {
    "type": "object",
    "properties": {
        "scores": {
            "type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer", "minimum": 0, "maximum": 10}
        },
        "why": {"type": ["string", "null"], "minLength": 2, "maxLength": 5},
        "kind": {"enum": ["a", 1]},
        "either": {"anyOf": [{"type": "boolean"}, {"const": 3}]},
    },
    "required": ["scores"],
    "additionalProperties": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"scores": [1, 2]}, None),
        ({"scores": [1, 2.0], "why": None, "kind": 1, "either": True}, None),
        ([], "the reply must be object, not array"),
        ({}, "the reply lacks the key 'scores'"),
        ({"scores": [1]}, "'scores' of the reply must have 2 items and has 1"),
        ({"scores": [1, 2, 3]}, "must have 2 items and has 3"),
        ({"scores": [1, "2"]}, "item 1 of 'scores' of the reply must be integer, not string"),
        ({"scores": [1, True]}, "must be integer, not boolean"),
        ({"scores": [1, 2.5]}, "must be integer, not number"),
        ({"scores": [1, 11]}, "must be at most 10, not 11"),
        ({"scores": [-1, 1]}, "must be at least 0, not -1"),
        ({"scores": [1, 2], "why": "x"}, "must be at least 2 characters, not 1"),
        ({"scores": [1, 2], "why": "x" * 6}, "must be at most 5 characters"),
        ({"scores": [1, 2], "kind": True}, "must be one of 'a', 1"),
        ({"scores": [1, 2], "either": 4}, "must be boolean, not integer or 'either' of the reply must be 3"),
        ({"scores": [1, 2], "more": 1}, "has the key 'more', which was not asked for"),
    ],
)
def test_complaints_say_what_is_wrong_and_where(value, complaint):
    refuse_unknown_keywords(SCHEMA)
    found = complaint_about(value, SCHEMA)
    assert (found is None) == (complaint is None)
    assert complaint is None or complaint in str(found)


def test_a_schema_that_would_not_be_held_is_refused():
    with pytest.raises(UsageError, match=r"response_schema\.a\.items: keyword 'pattern' is not supported"):
        refuse_unknown_keywords({"properties": {"a": {"items": {"pattern": "x"}}}})
    with pytest.raises(UsageError, match="there is no type 'strng'; did you mean 'string'"):
        refuse_unknown_keywords({"type": "strng"})
