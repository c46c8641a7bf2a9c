"""What the MEMENTO study asks of its measurements, and what is measured for it."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from mnemic.report.claims import Claim
from mnemic.report.records import Record
from mnemic.studies.base import judge
from mnemic.studies.memento_generation import Case, Measured
from mnemic.studies.memento_runs import SEEDS, SizeOf

__all__ = ["cases", "claims"]


def cases(size: SizeOf) -> list[Case]:
    """What is generated: every stage as it was taught, and what shows why the second stage and the keys matter."""
    shortest = size.rounds[0]
    found: list[Case] = []
    for rounds in size.rounds:
        found += [((rounds, "lossy", "stage 1"), "full"), ((rounds, "lossy", "stage 1"), "evicting")]
        found += [((rounds, "lossy", "stage 2"), "evicting"), ((rounds, "lossy", "stage 2"), "restart")]
        found.append(((rounds, "none", "control"), "full"))
    found += [((shortest, "full", "stage 1"), "full"), ((shortest, "full", "stage 1"), "evicting")]
    found += [((shortest, "full", "stage 2"), "evicting"), ((shortest, "full", "stage 2"), "restart")]
    found += [((shortest, "lossy", "stage 2"), "full"), ((shortest, "full", "stage 2"), "full")]
    found += [((shortest, "lossy", "stage 2"), "bare restart"), ((shortest, "full", "stage 2"), "bare restart")]
    return found


def claims(size: SizeOf, written: Measured, extra: Mapping[str, Any], failed: list[Record]) -> list[Claim]:
    """The verdicts.

    Args:
        written: by case, an entry per seed; a case that is missing was not measured.
        extra: "mask difference", "speed" and "probe", as far as they were measured.
        failed: runs without a result; claims that need what they would have left are not measured.
    """
    shortest = size.rounds[0]
    asked = zip(size.rounds, (0.05, 0.02, 0.02), (2.0, 2.0, 3.0), strict=True)
    found = [claim for rounds, lost, ratio in asked for claim in _as_good(written, rounds, lost, ratio, failed)]
    for memento in ("lossy", "full"):
        of_first = accuracy(written, ((shortest, memento, "stage 1"), "evicting"))
        found.append(
            judge(
                f"B. A model of stage 1 collapses under eviction, {memento} mementos",
                "the second stage is needed",
                "accuracy at most 0.5", of_first, of_first <= 0.5, failed,
            )
        )  # fmt: skip
    taught = {m: accuracy(written, ((shortest, m, "stage 2"), "evicting")) for m in ("lossy", "full")}
    restarted = {m: accuracy(written, ((shortest, m, "stage 2"), "restart")) for m in ("lossy", "full")}
    lossy, full = (taught[m] - restarted[m] for m in ("lossy", "full"))
    probe, speeds = extra.get("probe", {}), extra.get("speed", {})
    difference = extra.get("mask difference", math.nan)
    found += [
        judge(
            "C. Without the keys that saw the block, mementos that tell one bit of the state fail",
            "AIME24 66.1 to 50.8 when a memento's keys are computed again without its block (Qwen3-8B)",
            "accuracy lower by at least 0.3", lossy, lossy >= 0.3, failed,
        ),
        judge(
            "C. Mementos that tell the whole state lose little by it",
            "the gap is what the text leaves out",
            "accuracy lower by at most 0.2", full, full <= 0.2, failed,
        ),
        judge(
            "D. Logits under the mask and under eviction are the same, on traces of the second stage",
            "the two are meant to agree",
            "differ by at most 0.0001", difference, difference <= 1e-4, failed,
        ),
        *_speed_claims(speeds),
        *_probe_claims(probe, failed),
    ]  # fmt: skip
    return found


def accuracy(written: Measured, case: Case) -> float:
    """Mean over the seeds; nan where one is missing, and no threshold holds for nan."""
    return fmean(one.accuracy for one in written[case]) if len(written.get(case, [])) == SEEDS else math.nan


def _as_good(written: Measured, rounds: int, lost: float, ratio: float, failed: list[Record]) -> list[Claim]:
    first: Case = ((rounds, "lossy", "stage 1"), "full")
    second: Case = ((rounds, "lossy", "stage 2"), "evicting")
    control: Case = ((rounds, "none", "control"), "full")
    best = max(accuracy(written, first), accuracy(written, control))
    gap = best - accuracy(written, second)
    fewer = _peak(written, first) / _peak(written, second)
    plain = _peak(written, control) / _peak(written, second)
    return [
        judge(
            f"A. {rounds} rounds: with its blocks evicted the model answers as well as with full attention (stage 1 or "
            "the control on traces without mementos, whichever is better)",
            "small losses: 54.3 to 45.1 and, after RL, 49.4 on competition mathematics (Qwen3-8B)",
            f"accuracy lower by at most {lost}", gap, gap <= lost, failed,
        ),
        judge(
            f"A. {rounds} rounds: it holds a fraction of the keys at its peak",
            "2.71 to 1.08 GB on competition mathematics (Qwen3-8B)",
            f"at least {ratio:g} times fewer",
            f"{fewer:.2f} times fewer than the same trace whole, {plain:.2f} than the control's",
            fewer >= ratio,
            failed,
        ),
    ]  # fmt: skip


def _peak(written: Measured, case: Case) -> float:
    return fmean(one.peak for one in written[case]) if len(written.get(case, [])) == SEEDS else math.nan


def _speed_claims(speeds: Mapping[str, float]) -> list[Claim]:
    dynamic, aside, share = (speeds.get(name, math.nan) for name in ("dynamic", "set aside", "eviction"))
    setting = "batch 8, 16 rounds of 64 and 8 tokens"
    return [
        judge(
            f"E. Decoding with eviction is faster than transformers' full attention ({setting})",
            "1.75 times the tokens per second in serving (one B200)",
            "at least 3 times", dynamic, dynamic >= 3.0,
        ),
        judge(
            "E. And faster than full attention in a cache that was set aside, which is the honest rival",
            "the same", "at least 1.3 times", aside, aside >= 1.3,
        ),
        judge(
            "E. Evicting itself costs little of the time",
            "not reported", "less than 0.05 of it", share, share < 0.05,
        ),
    ]  # fmt: skip


def _probe_claims(probe: Mapping[str, Any], failed: list[Record]) -> list[Claim]:
    direct, masked, control = (_of_probe(probe, distance) for distance in ("0", "1", "-1"))
    return [
        judge(
            "F. The memento of a block tells the block's digits to a probe of its keys and values",
            "0.65 of a passcode's digits (Qwen3-8B)", "at least 0.4", direct, direct >= 0.4, failed,
        ),
        judge(
            "F. The next memento, written when the block was gone, still tells some",
            "0.27 (Qwen3-8B); 0.26 in the paper's toy", "at least 0.13", masked, masked >= 0.13, failed,
        ),
        judge(
            "F. The memento before the block tells nothing",
            "0.10, which is chance", "between 0.07 and 0.13", control, 0.07 <= control <= 0.13, failed,
        ),
    ]  # fmt: skip


def _of_probe(probe: Mapping[str, Any], distance: str) -> float:
    return float(probe["by_distance"][distance]["accuracy"]) if probe else math.nan
