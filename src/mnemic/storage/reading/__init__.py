"""Files as events: plain text, Markdown, HTML, chats as JSON lines, PDF."""

from mnemic.storage.reading.files import FORMATS, Unreadable, events_of, read_events

__all__ = ["FORMATS", "Unreadable", "events_of", "read_events"]
