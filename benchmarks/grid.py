"""A grid of 24 short runs: two at a time beside one after the other, and what starting a run costs.

Every arm is a fresh process, so the import of torch and the start of the fork server are in its time. "serial" runs one
at a time with one thread, on one core; "serial, both cores" one at a time with a thread per core, as `--jobs 1` does.
"interpreter per run" starts a Python for each run, as a shell script around `mnemic train` would.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS = 24
RESULTS = Path(__file__).parent / "results"
ARMS = {"two at a time": 2, "serial": 1, "serial, both cores": 1, "interpreter per run": 1}


def specs() -> list[Any]:
    from mnemic.tasks import parse_task
    from mnemic.training.config import TrainConfig
    from mnemic.training.runs import RunSpec
    from mnemic.training.shell import Shell

    task, shell = parse_task("mqar:pairs=4,length=32,vocab=64"), Shell(width=32, depth=2)
    memories = ("attention", "mamba2", "gated-deltanet")
    return [
        RunSpec(
            task,
            memory,
            shell,
            TrainConfig(steps=60, batch_size=16, eval_rows=64, seed=seed, device="cpu"),
            test_rows=64,
        )
        for seed in range(RUNS // len(memories))
        for memory in memories
    ]


def work(arm: str, only: int | None) -> dict[str, float]:
    """What one arm measures in this process."""
    from mnemic.training.processes import get_ready

    if arm == "serial":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    get_ready()
    from mnemic.training.grid import run_grid

    chosen = specs() if only is None else [specs()[only]]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        records = run_grid(chosen, Path(folder), ARMS[arm])
        seconds = time.perf_counter() - began
    assert [record.status for record in records] == ["done"] * len(chosen)
    return {"grid_seconds": seconds, "training_seconds": sum(record.cost.train_seconds or 0 for record in records)}


def timed(arm: str) -> dict[str, float]:
    """One arm in fresh processes, from before Python starts until it has ended."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    began = time.perf_counter()
    parts = range(RUNS) if arm == "interpreter per run" else [None]
    found = []
    for part in parts:
        command = [sys.executable, __file__, "--work", arm, *([] if part is None else ["--only", str(part)])]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    total = {name: sum(one[name] for one in found) for name in found[0]}
    return {"seconds": time.perf_counter() - began, **total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="the arms take turns so often")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/grid.json")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS)[:3], help="which to run")
    parser.add_argument("--work", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work, options.only)))
        return
    loads, times = [], {arm: list[dict[str, float]]() for arm in options.arms}
    for _ in range(options.rounds):
        for arm in options.arms:
            loads.append(os.getloadavg()[0])
            times[arm].append(timed(arm))
    rows = {
        arm: {name: statistics.median(one[name] for one in found) for name in found[0]} for arm, found in times.items()
    }
    results = {
        "benchmark": "grid", "runs": RUNS, "rounds": options.rounds, "cores": len(os.sched_getaffinity(0)),
        "load_at_start_of_each": [round(load, 2) for load in loads], "arms": rows,
        "share_of_serial": {
            arm: rows["two at a time"]["seconds"] / row["seconds"]
            for arm, row in rows.items()
            if arm.startswith("serial") and "two at a time" in rows
        },
    }  # fmt: skip
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "grid.json").write_text(json.dumps(results, indent=1) + "\n")
    if options.json:
        print(json.dumps(results))
        return
    print(f"{RUNS} runs; load of the machine {min(loads):.1f} to {max(loads):.1f} on {results['cores']} cores")
    for arm, row in rows.items():
        print(f"  {arm:20} {row['seconds']:6.1f} s   training {row['training_seconds']:6.1f} s in all")
    for arm, share in results["share_of_serial"].items():
        print(f"  two at a time takes {share:.2f} of {arm}")


if __name__ == "__main__":
    main()
