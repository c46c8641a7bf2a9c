"""Builds keep what they have done, whatever ends them, and go on from there to the same result."""

import errno
import json
import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import MnemicError, UsageError
from mnemic.llm import BadReply, BudgetExhausted, EndpointUnavailable, FakeLLM
from mnemic.teaching.pipeline import BuildStopped, Dropped, Interrupted, Stage, run_pipeline
from mnemic.teaching.stages import StageFault


def items(count):
    return [{"id": f"i{n}", "n": n} for n in range(count)]


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


class Worker:
    """Two stages that note what they are asked and do as `behave` says: return None or raise."""

    def __init__(self, behave=lambda stage, item: None):
        self.behave, self.asked, self.lock = behave, [], threading.Lock()

    def stages(self, versions=(1, 1)):
        return [Stage("first", versions[0], self.first), Stage("second", versions[1], self.second)]

    def first(self, item):
        return self.work("first", item) | {"double": item["n"] * 2}

    def second(self, item):
        return self.work("second", item) | {"sum": item["n"] + item["double"], "text": "ü\u2028 \ud83d"}

    def work(self, stage, item):
        with self.lock:
            self.asked.append((stage, item["id"]))
        self.behave(stage, item)
        return item


def expected(n):
    return {"id": f"i{n}", "n": n, "double": 2 * n, "sum": 3 * n, "text": "ü\u2028 \ud83d"}


def test_all_items_come_through_in_their_order(tmp_path):
    luck = random.Random(0)
    worker = Worker(lambda *_: time.sleep(luck.random() * 0.003))
    manifest = run_pipeline(worker.stages(), items(60), tmp_path, config={"a": 1}, workers=7, name="rows")
    written = (tmp_path / "rows.jsonl").read_bytes().decode().split("\n")
    assert [json.loads(line) for line in written[:-1]] == [expected(n) for n in range(60)]
    assert written[-1] == ""
    assert (manifest.status, manifest.items, manifest.counts["ok"]) == ("done", 60, 60)
    assert [row["id"] for row in map(json.loads, (tmp_path / "1-first.jsonl").open("rb"))] != [
        f"i{n}" for n in range(60)
    ]
    on_disk = json.loads((tmp_path / "manifest.json").read_text())
    assert on_disk["config"] == {"a": 1}
    assert on_disk["stages"] == [["first", 1], ["second", 1]]
    assert on_disk["config_hash"] == manifest.config_hash


def test_a_finished_build_is_not_built_again(tmp_path):
    run_pipeline(Worker().stages(), items(5), tmp_path, config={})
    before = (tmp_path / "items.jsonl").read_bytes()
    again = Worker()
    progress = []
    run_pipeline(again.stages(), items(5), tmp_path, config={}, on_progress=progress.append)
    assert again.asked == []
    assert (tmp_path / "items.jsonl").read_bytes() == before
    assert (progress[-1].kept, progress[-1].done) == (5, 5)


def test_three_outcomes_are_counted_and_explained(tmp_path):
    def behave(stage, item):
        if item["n"] % 5 == 0:
            raise Dropped(f"too short: {item['n']} tokens")
        if stage == "second" and item["n"] % 5 == 1:
            raise BadReply("three times nonsense")

    progress = []
    manifest = run_pipeline(Worker(behave).stages(), items(10), tmp_path, config={}, on_progress=progress.append)
    assert dict(manifest.counts) == {"ok": 6, "dropped": 2, "failed": 2, "tried_again_next_time": 0}
    assert (manifest.dropped, manifest.failed) == ({"too short": 2}, {"BadReply": 2})
    assert lines(tmp_path / "items.rejected.jsonl") == [
        {"id": "i0", "stage": "first", "status": "dropped", "reason": "too short: 0 tokens"},
        {"id": "i1", "stage": "second", "status": "failed", "error": "BadReply", "reason": "three times nonsense",
         "transient": False},
        {"id": "i5", "stage": "first", "status": "dropped", "reason": "too short: 5 tokens"},
        {"id": "i6", "stage": "second", "status": "failed", "error": "BadReply", "reason": "three times nonsense",
         "transient": False},
    ]  # fmt: skip
    last = progress[-1]
    assert (last.items, last.done, last.ok, last.dropped, last.failed) == (10, 10, 6, 2, 2)
    assert json.loads((tmp_path / "progress.json").read_text())["done"] == 10


@pytest.mark.parametrize(
    ("error", "flag", "is_tried_again"),
    [(BadReply("no"), False, False), (BadReply("no"), True, True), (MnemicError("no"), False, False),
     (EndpointUnavailable("busy"), False, True), (Dropped("no"), True, False)],
)  # fmt: skip
def test_what_is_tried_again(tmp_path, error, flag, is_tried_again):
    def behave(stage, item):
        if (stage, item["n"]) == ("second", 3):
            raise error

    run_pipeline(Worker(behave).stages(), items(6), tmp_path, config={})
    again = Worker()
    manifest = run_pipeline(again.stages(), items(6), tmp_path, config={}, retry_failed=flag)
    assert again.asked == ([("second", "i3")] if is_tried_again else [])
    assert manifest.counts["ok"] == 5 + is_tried_again


def test_an_empty_budget_stops_the_build_and_keeps_what_is_done(tmp_path):
    left = [25]
    lock = threading.Lock()

    def behave(stage, item):
        with lock:
            left[0] -= 1
            if left[0] < 0:
                raise BudgetExhausted("the budget is used up")

    worker = Worker(behave)
    with pytest.raises(BuildStopped, match=r"the budget is used up; \d+ of 40 items are done and kept in .*again") as s:
        run_pipeline(worker.stages(), items(40), tmp_path, config={}, workers=3)
    assert isinstance(s.value.__cause__, BudgetExhausted)
    assert not (tmp_path / "items.jsonl").exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "stopped"
    rest = Worker()
    run_pipeline(rest.stages(), items(40), tmp_path, config={})
    assert len(rest.asked) == 80 - 25
    assert lines_of(tmp_path / "items.jsonl") == [expected(n) for n in range(40)]


def lines_of(path):
    return [json.loads(line) for line in path.open("rb")]


def test_who_stops_is_told_of_what_failed(tmp_path):
    def behave(stage, item):
        raise {"i0": BadReply("no"), "i1": EndpointUnavailable("busy")}.get(item["id"], BudgetExhausted("used up"))

    with pytest.raises(
        BuildStopped, match=r"2 of 3 items are done .* to go on \(and with retry_failed to try the 1 that"
    ):
        run_pipeline(Worker(behave).stages(), items(3), tmp_path, config={}, workers=1)


def test_what_a_killed_build_was_writing_is_cleared_away(tmp_path):
    run_pipeline(Worker().stages(), items(3), tmp_path, config={})
    for name in ("items.jsonl", "items.rejected.jsonl", "manifest.json"):
        (tmp_path / f".{name}.12345").write_text("{")
    run_pipeline(Worker().stages(), items(3), tmp_path, config={})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock", "1-first.jsonl", "2-second.jsonl", "items.jsonl", "items.rejected.jsonl", "manifest.json",
        "progress.json",
    ]  # fmt: skip


def test_a_fault_of_a_stage_is_raised_and_loses_nothing(tmp_path):
    def behave(stage, item):
        if (stage, item["n"]) == ("second", 4):
            raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        run_pipeline(Worker(behave).stages(), items(9), tmp_path, config={}, workers=1)
    rest = Worker()
    run_pipeline(rest.stages(), items(9), tmp_path, config={})
    assert ("first", "i4") not in rest.asked
    assert len(rest.asked) == 18 - 9


@pytest.mark.parametrize(
    "made", [{"id": "other"}, {}, None, [1], {"id": "i0", "x": float("nan")}, {"id": "i0", "x": {1}}]
)
def test_what_a_stage_may_not_return(tmp_path, made):
    with pytest.raises(StageFault, match="stage 'bad' must return item 'i0'"):
        run_pipeline([Stage("bad", 1, lambda item: made)], items(1), tmp_path, config={})


class Told(FakeLLM):
    """Notes what a build asks of its client."""

    def __post_init__(self):
        super().__post_init__()
        self.told = []

    def stop(self):
        super().stop()
        self.told.append("stop")

    def go_on(self):
        super().go_on()
        self.told.append("go on")


def test_asked_to_stop_it_stops_and_goes_on_later(tmp_path):
    fake = Told([("", "yes")])
    worker = Worker(lambda *_: time.sleep(0.002))
    with pytest.raises(Interrupted, match="run the same again to go on"):
        run_pipeline(
            worker.stages(), items(500), tmp_path, config={}, llm=fake, should_stop=lambda: len(worker.asked) > 20
        )
    assert fake.told == ["stop", "go on"]
    assert len(worker.asked) < 200
    rest = Worker()
    run_pipeline(rest.stages(), items(500), tmp_path, config={}, llm=fake)
    assert "stop" not in fake.told[2:]
    assert sorted(worker.asked + rest.asked) == sorted((s, f"i{n}") for n in range(500) for s in ("first", "second"))


def test_an_item_that_changed_is_made_anew(tmp_path):
    run_pipeline(Worker().stages(), items(4), tmp_path, config={})
    changed = [*items(2), {"id": "i2", "n": 20}, *items(5)[4:], *items(4)[3:]]
    worker = Worker()
    run_pipeline(worker.stages(), iter(changed), tmp_path, config={})
    assert sorted(worker.asked) == [("first", "i2"), ("first", "i4"), ("second", "i2"), ("second", "i4")]
    assert [row["sum"] for row in lines_of(tmp_path / "items.jsonl")] == [0, 3, 60, 12, 9]


def test_another_configuration_is_refused_unless_forced(tmp_path):
    run_pipeline(Worker().stages(), items(3), tmp_path, config={"threshold": 8, "same": [1]})
    kept = (tmp_path / "1-first.jsonl").read_bytes()
    worker = Worker()
    with pytest.raises(UsageError, match=r"another configuration \(rounds, threshold\); name another folder, or use f"):
        run_pipeline(worker.stages(), items(3), tmp_path, config={"threshold": 7, "same": (1,), "rounds": 2})
    with pytest.raises(UsageError, match=r"other stages \(second\)"):
        run_pipeline(worker.stages((1, 2)), items(3), tmp_path, config={"threshold": 8, "same": (1,)})
    assert worker.asked == []
    assert (tmp_path / "1-first.jsonl").read_bytes() == kept
    run_pipeline(worker.stages(), items(3), tmp_path, config={"threshold": 7}, force=True)
    assert len(worker.asked) == 6
    assert (tmp_path / "superseded-1" / "1-first.jsonl").read_bytes() == kept
    run_pipeline(worker.stages(), items(3), tmp_path, config={"threshold": 6}, force=True)
    assert (tmp_path / "superseded-2" / "items.jsonl").exists()
    run_pipeline(worker.stages(), items(3), tmp_path, config={"threshold": 6}, force=True)
    assert not (tmp_path / "superseded-3").exists()


@pytest.mark.parametrize("text", [None, "{", "[]", '{"config_hash": 1}'])
def test_a_folder_whose_manifest_is_gone_or_damaged_is_refused(tmp_path, text):
    run_pipeline(Worker().stages(), items(3), tmp_path, config={})
    (tmp_path / "manifest.json").unlink()
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=r"manifest\.json (is gone|cannot be read)"):
        run_pipeline(Worker().stages(), items(3), tmp_path, config={})


def test_two_builds_do_not_share_a_folder(tmp_path):
    begun, go = threading.Event(), threading.Event()

    def behave(*_):
        begun.set()
        go.wait(10)

    first = threading.Thread(
        target=run_pipeline, args=(Worker(behave).stages(), items(2), tmp_path), kwargs={"config": {}}
    )
    first.start()
    assert begun.wait(10)
    with pytest.raises(UsageError, match=r"another build \(process \d+\) is writing to"):
        run_pipeline(Worker().stages(), items(2), tmp_path, config={})
    go.set()
    first.join(10)
    run_pipeline(Worker().stages(), items(2), tmp_path, config={})


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ([{"id": "a"}, {"id": "a"}], {}, "the id 'a' comes twice"),
        ([{"id": "a"}, {"n": 1}], {}, "item 1: its id is None"),
        ([{"id": 7}], {}, "item 0: its id is 7"),
        ([{"id": "a", "x": {1}}], {}, "item 'a' is no JSON"),
        ([], {"workers": 0}, "workers is 0"),
        ([], {"config": {"x": {1}}}, "config must be JSON"),
    ],
)
def test_wrong_use_is_named(tmp_path, given, options, said):
    stage = Stage("only", 1, lambda item: item)
    with pytest.raises(UsageError, match=said):
        run_pipeline([stage], given, tmp_path, **({"config": {}} | options))


def test_wrong_stages_are_named(tmp_path):
    with pytest.raises(UsageError, match="at least one is needed"):
        run_pipeline([], [], tmp_path, config={})
    with pytest.raises(UsageError, match="a name of its own"):
        run_pipeline([Stage("a", 1, dict), Stage("a", 1, dict)], [], tmp_path, config={})
    with pytest.raises(UsageError, match="stage 'a/b'"):
        Stage("a/b", 1, dict)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to the folder"):
        run_pipeline([Stage("a", 1, dict)], [], tmp_path / "file", config={})


def test_a_result_that_cannot_be_written_is_named_and_the_old_one_stays(tmp_path, monkeypatch):
    run_pipeline(Worker().stages(), items(3), tmp_path, config={})
    before = (tmp_path / "items.jsonl").read_bytes()
    real = Path.open

    def no_room(path, *args, **options):
        if path.name.startswith(".items.jsonl"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "open", no_room)
    with pytest.raises(
        MnemicError, match=r"cannot write .*items\.jsonl: the disk is full; what was there before is kept"
    ):
        run_pipeline(Worker().stages(), items(5), tmp_path, config={})
    monkeypatch.undo()
    assert (tmp_path / "items.jsonl").read_bytes() == before
    again = Worker()
    run_pipeline(again.stages(), items(5), tmp_path, config={})
    assert again.asked == []
    assert len(lines_of(tmp_path / "items.jsonl")) == 5


def test_no_items_make_an_empty_result(tmp_path):
    assert run_pipeline([Stage("a", 1, dict)], [], tmp_path, config={}).status == "done"
    assert (tmp_path / "items.jsonl").read_bytes() == b""


def test_progress_tells_calls_cost_and_what_is_left(tmp_path):
    fake = FakeLLM([("", "yes")])
    fake.complete([{"role": "user", "content": "before the build"}])

    def ask(item):
        time.sleep(0.01)
        return item | {"said": fake.complete([{"role": "user", "content": item["id"]}]).text}

    seen = []
    run_pipeline([Stage("ask", 1, ask)], items(80), tmp_path, config={}, workers=2, llm=fake, on_progress=seen.append)
    assert seen[-1].calls == 80
    assert seen[-1].hit_rate == 0
    assert (seen[-1].cost, seen[-1].waiting, seen[-1].eta_seconds) == (None, None, 0)
    on_the_way = [p for p in seen if 0 < p.done < 80]
    assert on_the_way
    assert all(p.eta_seconds == pytest.approx((80 - p.done) / p.items_per_second) for p in on_the_way)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), workers=st.integers(1, 4))
def test_any_number_of_stops_leads_to_the_same_result(tmp_path_factory, data, workers):
    """Oracle: the undisturbed build. Every stage is asked about an item until it has returned once, and never after."""
    folder = tmp_path_factory.mktemp("build")
    stops = data.draw(st.lists(st.integers(0, 12), max_size=5))
    returned = []
    for left in [*stops, None]:
        lock = threading.Lock()
        allowed = [left]

        def behave(stage, item, lock=lock, allowed=allowed):
            with lock:
                if allowed[0] == 0:
                    raise BudgetExhausted("used up")
                if allowed[0] is not None:
                    allowed[0] -= 1
                returned.append((stage, item["id"]))

        try:
            run_pipeline(Worker(behave).stages(), items(8), folder, config={}, workers=workers)
        except BuildStopped:
            continue
        break
    assert lines_of(folder / "items.jsonl") == [expected(n) for n in range(8)]
    assert len(returned) == len(set(returned)) == 16
