"""The page as a reader's browser shows it: a real Chromium, without a window."""

import os

import pytest
from browsing import CONTRASTS, headless_chromium
from method_records import method

from mnemic.report.claims import Claim
from mnemic.report.html import write_report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("MNEMIC_TEST_NO_BROWSER" in os.environ, reason="MNEMIC_TEST_NO_BROWSER is set"),
]
# what must not stick out of the page: everything but the content of boxes that scroll by themselves
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(e =>
  !e.closest(".scroll, pre, svg") && e.getBoundingClientRect().right > innerWidth + 1
).map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser():
    with headless_chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory, recall_records, text_records, failed_record, make_record):
    long_name = make_record(
        "attention", memory="attention,sliding-window,attention:window=16/with-a-name-that-does-not-end"
    )
    claims = [Claim(text="It holds", published="1.00", measured=0.99, threshold="at least 0.95", holds=True)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report([*recall_records, long_name, failed_record, *text_records], path, "Four memories", claims=claims)
    return path


@pytest.fixture
def opened(browser, report):
    """Opens the report and fails on what a page must not do: log an error, or ask the network for anything."""
    contexts, noise, requests = [], [], []

    def open_(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: noise.append(message.text))
        tab.on("pageerror", lambda error: noise.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(report.as_uri())
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert noise == []
    assert set(requests) == {report.as_uri()}


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_the_page_never_scrolls_sideways(opened, width):
    tab = opened(viewport={"width": width, "height": 800})
    tab.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(OUTSIDE) == []


def test_a_wide_table_scrolls_in_its_own_box_on_a_phone(opened):
    tab = opened(viewport={"width": 375, "height": 800})
    wide = tab.evaluate(
        "[...document.querySelectorAll('.scroll:has(.results)')].map(b => b.scrollWidth - b.clientWidth)"
    )
    assert len(wide) == 2
    assert all(hidden > 100 for hidden in wide)
    box = tab.locator(".scroll:has(.results)").first
    box.focus()
    for _ in range(20):
        tab.keyboard.press("ArrowRight")
    tab.wait_for_function("document.querySelector('.scroll:has(.results)').scrollLeft > 100")
    # the names stay in sight
    assert tab.evaluate("document.querySelector('.results tbody th').getBoundingClientRect().left") >= 0


def test_chart_text_is_readable_on_a_phone(opened):
    tab = opened(viewport={"width": 375, "height": 800})
    sizes = tab.evaluate(
        "[...document.querySelectorAll('svg.chart')]"
        ".map(s => 11 * s.getBoundingClientRect().width / s.viewBox.baseVal.width)"
    )
    assert len(sizes) >= 14
    assert min(sizes) >= 9


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_background(opened, scheme):
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    tab = opened(color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
    found = tab.evaluate(CONTRASTS)
    assert len(found) > 400
    assert [pair for pair in found if pair[0] < 4.5] == []


def test_themes_differ(opened):
    backgrounds = [
        opened(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert backgrounds == ["rgb(247, 246, 243)", "rgb(15, 17, 20)"]


def test_nothing_is_lost_without_scripts(opened):
    with_scripts = opened()
    without = opened(java_script_enabled=False)
    assert without.locator("script").count() == 0
    assert without.inner_text("body") == with_scripts.inner_text("body")
    assert without.locator("svg.chart").count() == with_scripts.locator("svg.chart").count() > 13
    without.locator("summary").first.click()
    assert without.locator("details[open] h4").first.is_visible()


def test_charts_read_aloud(opened):
    tab = opened()
    image = tab.get_by_role("img", name="Recall against memory")
    assert "attention 0.993 with 64 KiB" in image.locator("desc").text_content()


@pytest.mark.parametrize("width", [375, 1280])
def test_a_page_of_recall_methods_is_as_readable(browser, tmp_path, width):
    path = tmp_path / "report.html"
    write_report([method("plain", 0.0), method("better", 0.1), method("bm25", -0.1)], path, "Methods")
    tab = browser.new_page(viewport={"width": width, "height": 800})
    tab.goto(path.as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(OUTSIDE) == []
    assert min(contrast for contrast, _ in tab.evaluate(CONTRASTS)) >= 4.5
    tab.close()
