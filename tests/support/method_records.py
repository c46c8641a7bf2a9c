"""Records of recall methods, made up."""

from mnemic.intervals import mean_interval
from mnemic.report.records import Record

HARD = [0.0, 0.5, 1.0, 0.5] * 10  # how questions differ, whatever the method


def method(name: str, gain: float, asked: str = "same", **changes) -> Record:
    scores = [min(max(hard + gain, 0.0), 1.0) for hard in HARD]
    found = mean_interval(scores)
    metrics = {f"recall@{k}": found.mean * k / 5 for k in (1, 2, 5)}
    point = {"count": 20, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    return Record.model_validate(
        {
            "run": name,
            "task": "corpus:wiki",
            "memory": name,
            "places": ["storage"],
            "layers": [{"mixer": name, "encoder": "wordllama", "extraction": "none"}],
            "metrics": metrics | {"recall@5_low": found.low, "recall@5_high": found.high},
            "slices": {"kind": [{"value": k, **point} for k in ("1", "2")]},
            "scores": scores,
            "asked": asked,
            "cost": {"bytes_per_passage": 2048.0, "read_seconds": 0.004, "write_seconds": 0.001, "llm_calls": 0},
            **changes,
        }
    )  # fmt: skip
