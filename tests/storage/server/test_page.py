"""The page as a reader's browser shows it: a real Chromium, without a window."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CONTRASTS, headless_chromium
from hashing_encoder import HashingEncoder
from store_server import StoreServer, serving

from mnemic.storage.server.stores import Stores

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("MNEMIC_TEST_NO_BROWSER" in os.environ, reason="MNEMIC_TEST_NO_BROWSER is set"),
]
MARKUP = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
EVENTS: list[dict[str, Any]] = [
    {"text": "My cat is called Nimbus.", "session": "monday", "actor": "Anna", "time": "2026-01-05T10:00:00Z"},
    {"text": f"Look at this cat: {MARKUP}", "session": "monday", "actor": MARKUP, "title": MARKUP},
    {
        "text": "Anna moved from Bergen to Oslo.",
        "facts": [
            {"subject": "Anna", "predicate": "lives in", "object": "Bergen", "valid_from": "2015-01-01"},
            {"subject": MARKUP, "predicate": MARKUP, "object": MARKUP},
            {"subject": "Anna", "predicate": "knows", "object": "Bela"},
        ],
    },
    {"text": "Berlin lies on the Spree.", "source": "spree.md"},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    stores = Stores.open(tmp_path_factory.mktemp("page") / "memory.db", encoder=HashingEncoder())
    with serving(stores) as running:
        anna = running.client("anna")
        anna.post("/v1/events", json={"events": EVENTS})
        anna.post("/v1/events", json={"events": [{"text": "Waits for a model."}], "extract": "llm"})
        [old] = anna.get("/v1/facts", params={"subject": "Anna", "predicate": "lives in"}).json()["facts"]
        new = {"subject": "Anna", "predicate": "lives in", "object": "Oslo", "valid_from": "2026-01-01"}
        anna.post(f"/v1/facts/{old['id']}/supersede", json={"fact": new})
        running.client("bela")
        yield running
    stores.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with headless_chromium() as running:
        yield running


@pytest.fixture
def opened(browser: Any, server: StoreServer) -> Iterator[Any]:
    """Opens the page and fails on what it must not do: break, or ask anybody but its server."""
    contexts: list[Any] = []
    noise: list[str] = []
    foreign: list[str] = []

    def open_(key: str | None = "anna", at: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: noise.append(message.text))
        tab.on("pageerror", lambda error: noise.append(str(error)))
        tab.on("request", lambda r: None if r.url.startswith((server.url, "data:")) else foreign.append(r.url))
        tab.goto(f"{server.url}/{at}")
        if key is not None:
            tab.get_by_label("Key", exact=True).fill(server.key(key))
            tab.keyboard.press("Enter")
            tab.wait_for_selector("#whose:has-text('the memory of')")
            tab.wait_for_selector("#view:not([aria-busy])")
        return tab

    yield open_
    for context in contexts:
        context.close()
    # a browser logs every refusal by itself; the page shows them
    assert [line for line in noise if "Failed to load resource" not in line] == []
    assert foreign == []


def test_a_question_is_answered_with_its_reasons_by_keyboard_alone(opened: Any) -> None:
    tab = opened()
    assert "the memory of anna: 5 events" in tab.inner_text("#whose")
    tab.get_by_label("Question").focus()
    tab.keyboard.type("cat called Nimbus")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".hits li")
    first = tab.locator(".hits li").first
    assert "My cat is called Nimbus." in first.inner_text()
    assert "session monday" in first.inner_text()
    first.locator("summary").focus()
    tab.keyboard.press("Enter")
    reasons = first.locator("details").inner_text()
    assert "keyword" in reasons
    assert "vector" in reasons
    assert "auto: hybrid" in reasons
    assert "q=cat" in tab.url
    tab.get_by_role("link", name="Jobs").click()
    tab.wait_for_selector(".figures")
    tab.go_back()
    tab.wait_for_selector(".hits li")


def test_what_memories_say_is_never_read_as_markup(opened: Any) -> None:
    tab = opened(at="#search?q=Look&method=bm25")
    tab.wait_for_selector(".hits li")
    assert MARKUP in tab.inner_text(".hits li p")
    for view in ("#facts", "#graph?entity=Anna", "#search?q=cat"):
        tab.evaluate("at => location.hash = at", view)
        tab.wait_for_selector("#view:not([aria-busy]) [role=status]")
    tab.evaluate("at => location.hash = at", "#facts")
    tab.wait_for_selector("tbody tr")
    assert MARKUP in tab.inner_text("tbody")
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("main script, main img").count() == 0


def test_facts_have_their_timeline_and_names_their_neighbours(opened: Any) -> None:
    tab = opened(at="#facts?subject=Anna")
    tab.wait_for_selector("tbody tr")
    rows = [" ".join(row.split()) for row in tab.locator("tbody tr").all_inner_texts()]
    assert any("Anna lives in Bergen" in row and "2015-01-01 to 2026-01-01" in row for row in rows)
    assert any("Anna lives in Oslo" in row and "2026-01-01 to now" in row for row in rows)
    assert tab.locator("tr.ended").count() == 1
    tab.locator("tbody a").first.click()
    tab.wait_for_selector("svg.graph")
    assert {"Bela", "Oslo"} <= set(tab.locator("tbody a").all_inner_texts())
    tab.locator("svg.graph a", has_text="Bela").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("[role=status]:has-text('Bela: ')")


def test_empty_and_wrong_states_say_what_to_do(opened: Any) -> None:
    stranger = opened(key=None)
    stranger.wait_for_selector("[role=alert]")
    assert "mnemic keys add" in stranger.inner_text("main")
    stranger.get_by_label("Key", exact=True).fill("mnemic_wrong")
    stranger.keyboard.press("Enter")
    stranger.wait_for_selector(".error")
    assert "opens nothing" in stranger.inner_text("main")
    bela = opened("bela")
    for view, word in (
        ("#facts", "No facts yet"),
        ("#graph?entity=x", "Nothing in the memory"),
        ("#search?q=x", "Nothing that was remembered"),
        ("#jobs", "None."),
        ("#search?q=x&at=someday", "not a time"),
    ):
        bela.evaluate("at => location.hash = at", view)
        bela.wait_for_selector(f"#view:has-text('{word}')")
    bela.get_by_role("button", name="Forget key").click()
    bela.wait_for_selector("#view:has-text('Type a key')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_is_readable(opened: Any, scheme: str, width: int, tmp_path: Path) -> None:
    tab = opened(color_scheme=scheme, viewport={"width": width, "height": 800})
    shots = Path(os.environ.get("MNEMIC_TEST_SHOTS", tmp_path))
    for view in ("#search?q=cat", "#facts", "#graph?entity=Anna", "#jobs"):
        tab.evaluate("at => location.hash = at", view)
        tab.wait_for_selector("#view:not([aria-busy]) :is([role=status], .figures)")
        tab.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
        name = view.partition("?")[0].removeprefix("#")
        tab.wait_for_selector(f"nav a[href='#{name}'][aria-current]")
        tab.screenshot(path=shots / f"{name}-{scheme}-{width}.png", full_page=True)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, view
        faint = [pair for pair in tab.evaluate(CONTRASTS) if pair[0] < 4.5]
        assert faint == [], view


def test_the_page_is_guarded(server: StoreServer) -> None:
    reply = server.client(None).get("/")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert "http" not in reply.text.replace("http-equiv", "")
    for name in ("page.css", "main.js", "search.js"):
        assert server.client(None).get(f"/page/{name}").status_code == 200
    for name in ("..%2fapp.py", "nothing.js", "%2e%2e/app.py"):
        assert server.client(None).get(f"/page/{name}").status_code == 404
