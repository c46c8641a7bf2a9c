"""Files become events; what cannot be read is named, and keeps nothing else back."""

from pathlib import Path

import pytest

from mnemic.errors import UsageError
from mnemic.storage.reading import Unreadable, events_of, read_events
from mnemic.storage.records import Event


def only(content: bytes, source: str, format: str = "auto") -> Event:
    [event] = events_of(content, source, format)
    assert isinstance(event, Event)
    return event


def test_text_is_kept_to_the_letter_whatever_its_byte_order_mark() -> None:
    text = "Zoë said:\r\n\t“日本語” 🙂\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert only(text.encode(encoding), "some_notes.txt") == Event(text, source="some_notes.txt", title="some notes")


def test_markdown_is_titled_by_its_first_heading() -> None:
    assert only(b"intro\n\n# The Spree #\n\n## Its course", "x.md").title == "The Spree"
    assert only(b"no heading", "x.md").title == "x"


def test_a_page_gives_the_text_that_a_reader_sees() -> None:
    page = (
        "<!doctype html><html><head><title>A &amp; B</title><style>p {}</style><script>if (a < b) hide()</script>"
        "</head><body><h1>Head</h1><p>One <b>bo</b>ld\nword &eacute;.<br>Next</p><ul><li>x<li>y</ul><script>n</script>"
    )
    event = only(page.encode(), "a.html")
    assert event.title == "A & B"
    assert [line.strip() for line in event.text.split("\n") if line.strip()] == [
        "Head", "One bold word é.", "Next", "x", "y",
    ]  # fmt: skip


def test_a_chat_is_read_line_by_line() -> None:
    lines = [
        '{"session": 1, "actor": "Anna", "time": "2024-01-01T10:00:00Z", "text": "hi", "mood": "fine"}',
        "",
        '{"text": 3}',
        "[",
        '{"text": "x", "time": "noon"}',
        '{"text": "y", "actor": ["a"]}',
        '{"text": "z", "session": null}',
        "[" * 100_000,
    ]
    found = list(events_of("\r\n".join(lines).encode(), "c.jsonl"))
    first, last = (event for event in found if isinstance(event, Event))
    assert (first.text, first.session, first.actor, first.metadata) == ("hi", "1", "Anna", {"mood": "fine"})
    assert (last.text, last.session, last.source) == ("z", "", "c.jsonl:7")
    assert [each.source for each in found if isinstance(each, Unreadable)] == [f"c.jsonl:{n}" for n in (3, 4, 5, 6, 8)]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"caf\xe9", "not UTF-8 .byte 3"),
        (b"\x00\x01\x02\xff", "binary"),
        (b"a\0b", "binary"),
        (b"\x89PNG\0\xff", "binary"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        list(events_of(content, "x.txt"))


def test_a_folder_is_read_in_order_and_past_what_cannot_be_read(tmp_path: Path) -> None:
    for name, content in {"b.txt": b"bee", "a/c.md": b"sea", ".git/x": b"hidden", "z.bin": b"\xff\0\xff"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    found = list(read_events(tmp_path))
    assert [each.text if isinstance(each, Event) else "!" for each in found] == ["sea", "bee", "!"]


def test_wrong_paths_and_formats_are_refused(tmp_path: Path) -> None:
    for path, format in ((tmp_path / "none", "auto"), (tmp_path, "auto"), (tmp_path, "docx")):
        with pytest.raises(UsageError):
            list(read_events(path, format))


def test_a_pdf_gives_its_text_and_a_damaged_one_says_so() -> None:
    stream = b"BT /F1 24 Tf 72 700 Td (The key is under the mat.) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    pdf = b"%PDF-1.4\n" + b"".join(b"%d 0 obj%s endobj\n" % (n, each) for n, each in enumerate(objects, 1))
    begins = [pdf.index(b"%d 0 obj" % number) for number in range(1, 6)]
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % begin for begin in begins)
    pdf += table + b"trailer<</Root 1 0 R/Size 6>>\nstartxref\n%d\n%%%%EOF\n" % len(pdf)
    assert "The key is under the mat." in only(pdf, "key.pdf").text
    for damaged in (b"%PDF-1.4 nothing", b"", pdf[:100]):
        with pytest.raises(UsageError, match=r"key\.pdf"):
            list(events_of(damaged, "key.pdf"))
