import io
import json

from rich.console import Console

from mnemic.report.claims import Claim, claims_json, claims_table
from mnemic.report.tables import results_table
from mnemic.report.units import bytes_text, count_text, percent_text, rate_text, score_text, seconds_text


def drawn(table, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()


def test_recall_stands_beside_its_cost(recall_records):
    text = drawn(results_table(recall_records))
    row = next(line for line in text.splitlines() if "gated-deltanet" in line)
    assert row.split() == ["gated-deltanet", "0.987", "0.949", "36", "KiB", "144,400", "159", "s", "43", "k"]
    assert "0.979–0.993" in text


def test_eighty_characters_are_enough(recall_records, text_records):
    for records in (recall_records, text_records):
        text = drawn(results_table(records))
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
        assert "decode/s" in text


def test_text_shows_its_recall_hits(text_records):
    text = drawn(results_table(text_records))
    assert "on hits" in text
    assert "bits/B" in text
    assert "0.918" in text
    assert "11.3 %" in text


def test_failed_memories_are_shown_and_names_are_not_markup(make_record):
    text = drawn(results_table([make_record(memory="[bold]x[/]"), make_record(memory="gam", status="failed")]))
    assert "[bold]x[/]" in text
    assert next(line for line in text.splitlines() if "gam" in line).split() == ["gam", "failed"]


def test_several_tasks_in_one_table(recall_records, text_records):
    text = drawn(results_table([*recall_records, *text_records]), width=140)
    assert "mqar:length=64,vocab=256"[:20] in text
    assert "text:topics.txt" in text


def test_no_records_make_an_empty_table():
    assert "memory" in drawn(results_table([]))


def test_numbers_for_people():
    assert [bytes_text(b) for b in (0, 7, 1023, 1024, 37376, 65536, 2**30)] == [
        "0 B", "7 B", "1023 B", "1 KiB", "36.5 KiB", "64 KiB", "1 GiB",
    ]  # fmt: skip
    assert [rate_text(r) for r in (0.5, 830, 999.6, 41234, 2e6)] == ["0.5", "830", "1 k", "41.2 k", "2 M"]
    assert [seconds_text(s) for s in (0.04, 9.94, 35.2, 636, 1200, 9000)] == [
        "0.0 s",
        "9.9 s",
        "35 s",
        "636 s",
        "20 min",
        "2.5 h",
    ]
    assert [score_text(x) for x in (0, 0.9876, 1 / 128, 0.0001)] == ["0.000", "0.988", "0.008", "0.0001"]
    assert count_text(1234567) == "1,234,567"
    assert percent_text(0.1134) == "11.3 %"


def test_claims_say_what_was_asked_and_seen():
    claims = [
        Claim(text="Attention solves it", published="1.00", measured=0.99841, threshold=">= 0.95", holds=True),
        Claim(text="The gap is on hits", published="82 %", measured="31 %", threshold="> 50 %", holds=False),
    ]
    text = drawn(claims_table(claims), width=120)
    assert "0.998" in text
    assert "no" in text
    shown = json.loads(claims_json("zoology", "laptop", 1, claims))
    assert {k: shown[k] for k in ("system", "scale", "seed", "holds")} == {
        "system": "zoology", "scale": "laptop", "seed": 1, "holds": False,
    }  # fmt: skip
    assert shown["claims"][0] == claims[0].model_dump()
