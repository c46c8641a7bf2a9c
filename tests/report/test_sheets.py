"""A study's tables: the same numbers in the terminal, on the page and in JSON."""

import io

from rich.console import Console

from mnemic.report.sheets import Sheet, sheet_html, sheet_table, sheets_json

SHEET = Sheet("Accuracy <1>", ("arm", "64 (1x)", "128"), (("plain & co", "0.50\n0.40–0.60", "–"),), "Means.")


def test_the_page_escapes_text_and_prints_the_second_line_small() -> None:
    html = sheet_html(SHEET)
    assert "Accuracy &lt;1&gt;" in html
    assert "plain &amp; co" in html
    assert "0.50</span><small>0.40–0.60</small>" in html
    assert "<small></small>" not in html


def test_no_number_is_cut_on_a_narrow_terminal() -> None:
    wide = Sheet("t", ("arm", *"abcdef"), (("a long name of an arm", *["0.50\n0.40–0.60"] * 6),))
    for width in (80, 200):
        out = io.StringIO()
        Console(file=out, width=width).print(sheet_table(wide))
        assert out.getvalue().count("0.40–0.60") == 6


def test_json_has_every_cell_on_one_line() -> None:
    (found,) = sheets_json([SHEET])
    assert found["rows"] == [["plain & co", "0.50 0.40–0.60", "–"]]
    assert found["head"] == ("arm", "64 (1x)", "128")
