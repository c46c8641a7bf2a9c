"""Rows per second and core of the synthetic tasks, beside making them row by row as zoology's generator does.

The peers here are written for this file: the same rows by the same laws, one row at a time with numpy's own sampling
without replacement, for MQAR both with numpy's present generator and with the old one that zoology calls. They make ids
and labels only; ours makes the slices as well. Seconds are of processor time.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, RandomState

from mnemic.tasks import UNASKED, parse_task
from mnemic.tasks.groups import composition

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5

Row = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
Maker = Callable[[Any, Any], Row]


def mqar_row(task: Any, rng: Generator | RandomState) -> Row:
    pairs, told = task.pairs, 2 * task.pairs
    keys = rng.choice(np.arange(1, task.vocab // 2), pairs, replace=False)
    values = rng.choice(np.arange(task.vocab // 2, task.vocab), pairs, replace=False)
    slots = (task.length - told) // 2
    weights = task.power * np.arange(1, slots + 1) ** (task.power - 1.0)
    at = told + 2 * rng.choice(slots, pairs, replace=False, p=weights / weights.sum())
    ids, labels = np.zeros(task.length, dtype=np.int64), np.full(task.length, UNASKED)
    ids[0:told:2], ids[1:told:2], ids[at], labels[at] = keys, values, keys, values
    return ids, labels


def associative_recall_row(task: Any, rng: Generator) -> Row:
    half = task.vocab // 2
    keys = rng.integers(1, half, size=task.pairs)
    value_of = rng.integers(half, task.vocab, size=half)
    ids, labels = np.empty(task.max_length, dtype=np.int64), np.full(task.max_length, UNASKED)
    ids[0:-1:2], ids[1:-1:2], ids[-1] = keys, value_of[keys], rng.choice(np.unique(keys))
    labels[-1] = value_of[ids[-1]]
    return ids, labels


def induction_row(task: Any, rng: Generator) -> Row:
    ids, labels = rng.integers(2, task.ids + 1, size=task.length), np.full(task.length, UNASKED)
    marked = rng.integers(task.length - 2)
    ids[marked] = ids[-1] = 1
    labels[-1] = ids[marked + 1]
    return ids, labels


def joint_recall_row(task: Any, rng: Generator) -> Row:
    table = 10 + rng.integers(task.values, size=(task.contexts, task.keys))
    first_key = 10 + task.values
    ids, labels = [1], [UNASKED]
    for section in range(2):
        for context in rng.permutation(task.contexts):
            ids.append(first_key + 16 + context)
            labels.append(UNASKED)
            for key in rng.permutation(task.keys):
                ids += [first_key + key, table[context, key]]
                labels += [table[context, key] if section else UNASKED, UNASKED]
        if not section:
            ids.append(4)
            labels.append(UNASKED)
    return np.array(ids), np.array(labels)


def selective_copy_row(task: Any, rng: Generator) -> Row:
    """As MAD's generator makes an instance, with noise in every gap."""
    data, places = rng.integers(2, task.ids, size=task.data), task.length - task.data - 1
    ids, labels = np.zeros(task.length, dtype=np.int64), np.full(task.length, UNASKED)
    ids[np.sort(rng.choice(places, task.data, replace=False))] = data
    ids[places:] = 1
    labels[-task.data :] = data
    return ids, labels


def copy_row(task: Any, rng: Generator) -> Row:
    string = rng.integers(2, 2 + task.ids, size=task.length)
    ids, labels = np.full(2 * task.length, UNASKED), np.full(2 * task.length, UNASKED)
    ids[: task.length], ids[task.length], ids[task.length + 1 :] = string, 1, string[:-1]
    labels[task.length :] = string
    return ids, labels


def state_tracking_row(task: Any, rng: Generator) -> Row:
    table = composition(task.group)
    elements, state, products = rng.integers(task.order, size=task.length), 0, []
    for element in elements:
        state = table[state, element]
        products.append(1 + state)
    return 1 + elements, np.array(products)


TASKS: dict[str, Maker | None] = {
    "mqar:vocab=256": mqar_row,
    "mqar": mqar_row,
    "mqar:pairs=64,length=512": mqar_row,
    "mqar:filler=random": None,
    "mqar:form=mad,vocab=16,length=128": None,
    "mqar:form=compositional,pairs=9,vocab=256": None,
    "mqar:form=forgetting,updates=4,vocab=256": None,
    "mqar:form=stacked,vocab=256": None,
    "associative-recall": associative_recall_row,
    "induction:length=64": induction_row,
    "induction:length=64,form=repeat": None,
    "joint-recall:contexts=4,keys=3": joint_recall_row,
    "joint-recall": joint_recall_row,
    "in-context-recall": None,
    "noisy-recall": None,
    "fuzzy-recall": None,
    "selective-copy": None,
    "selective-copy:form=mad,length=256": selective_copy_row,
    "memorization": None,
    "compression": None,
    "copy": copy_row,
    "prefix-lookup": None,
    "suffix-lookup": None,
    "state-tracking:group=S5,length=64": state_tracking_row,
    "variable-tracking:form=tokens": None,
    "in-context-regression": None,
    "needle:form=tokens,preset=multikey_1,length=256": None,
    "needle:form=tokens,preset=multikey_2,length=256": None,
    "phonebook:form=tokens": None,
    "frequent-words:form=tokens,length=256": None,
    "mqar:vocab=256,passes=2,order=question_first": None,
    "mqar:vocab=256,pairs=2-8,length=32/64": None,
    "needle:preset=single_2,length=4096": None,
    "needle:preset=multikey_3,length=4096": None,
    "variable-tracking:length=4096": None,
    "phonebook:entries=100": None,
    "frequent-words:length=4096": None,
}
TEXT_BYTES = 1 << 19  # made per round of a task of text, which is put together row by row


def ours_per_second(task: Any, rows: int) -> float:
    """The best of a few rounds, each of fresh rows."""
    task.sample("train", rows)
    best = float("inf")
    for n in range(ROUNDS):
        start = time.process_time()
        task.sample("train", rows, seed=1, start=n * rows)
        best = min(best, time.process_time() - start)
    return rows / best


def peer_per_second(task: Any, row: Maker, rows: int, seeded: Callable[[int], Any] = np.random.default_rng) -> float:
    best = float("inf")
    for n in range(ROUNDS):
        rng = seeded(n)
        start = time.process_time()
        made = [row(task, rng) for _ in range(rows)]
        np.stack([ids for ids, _ in made]), np.stack([labels for _, labels in made])
        best = min(best, time.process_time() - start)
    return rows / best


def check(task: Any, row: Maker) -> None:
    """The peer makes rows of this task: the task's oracle answers them."""
    rng = np.random.default_rng(0)
    ids, labels = (np.stack(part) for part in zip(*(row(task, rng) for _ in range(50)), strict=True))
    if not (task.oracle(ids) == labels).all():
        raise SystemExit(f"the peer's rows are not rows of {task.spec()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help="specs, such as mqar:vocab=256")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/tasks.json")
    options = parser.parse_args()
    table: dict[str, Any] = {}
    for spec in options.tasks:
        task: Any = parse_task(spec)
        is_text = getattr(task, "form", None) == "text"
        rows = max(256, (1 << 20) // task.max_length // 256 * 256)
        if is_text:
            rows = max(16, TEXT_BYTES // task.max_length)
        ours = ours_per_second(task, rows)
        table[spec] = {"length": task.max_length, "rows_per_second": round(ours)}
        line = f"{spec:44} {ours:>12,.0f} rows/s {ours * task.max_length / 1e6:>8.1f} M tokens/s"
        if peer_row := TASKS.get(spec):
            check(task, peer_row)
            peers = {"row by row": peer_per_second(task, peer_row, max(20, rows // 50))}
            if peer_row is mqar_row:
                peers["as zoology"] = peer_per_second(task, peer_row, max(20, rows // 50), RandomState)
            for peer, speed in peers.items():
                table[spec][peer] = {"rows_per_second": round(speed), "times_as_fast": round(ours / speed, 1)}
                line += f"   {peer} {speed:>8,.0f} rows/s, ours {ours / speed:.0f} times as fast"
        if not options.json:
            print(line)
    results = {
        "benchmark": "tasks",
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "numpy": np.__version__},
        "tasks": table,
    }
    if options.json:
        print(json.dumps(results))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "tasks.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
