"""The text of a PDF, page by page."""

from importlib import import_module
from io import BytesIO

from mnemic.errors import MissingExtra, UsageError
from mnemic.storage.reading.text import named
from mnemic.storage.records import Event

__all__ = ["read_pdf"]


def read_pdf(content: bytes, source: str) -> Event:
    """Raises:
    MissingExtra: pypdf is not installed.
    UsageError: it is damaged, locked, or has no text in it.
    """
    try:
        pypdf = import_module("pypdf")
    except ModuleNotFoundError:
        raise MissingExtra(f"reading '{source}'", "pdf") from None
    try:
        reader = pypdf.PdfReader(BytesIO(content))
        pages = [page.extract_text() for page in reader.pages]
        title = reader.metadata.title if reader.metadata else None
    except Exception as error:  # pypdf raises whatever a damaged file leads it to
        raise UsageError(f"'{source}' cannot be read as PDF: {error or type(error).__name__}") from None
    text = "\n\n".join(page.replace("\0", "") for page in pages).encode("utf-8", "ignore").decode()
    if not text.strip():
        raise UsageError(f"'{source}' has no text in it; a scan needs character recognition first")
    return Event(text, source=source, title=str(title or named(source))[:300], metadata={"pages": len(pages)})
