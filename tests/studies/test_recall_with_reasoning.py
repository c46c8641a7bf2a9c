"""The study of Recall with Reasoning: each claim is decided by its own numbers, and a smoke case of it all."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from mnemic.catalogue import RECIPES, find_study, resolve
from mnemic.errors import UsageError
from mnemic.report.records import Record
from mnemic.studies import recall_with_reasoning, rwr_claims
from mnemic.studies.recall_with_reasoning import study
from mnemic.studies.rwr_answers import Answered, answered
from mnemic.studies.rwr_claims import CASES, claims
from mnemic.studies.rwr_figures import NAMES, figures, sheets
from mnemic.studies.rwr_runs import ARMS, MULTIPLES, SEEDS, Question, questions, sizes, specs
from mnemic.tasks.key_facts import ANSWER, EOS, KEY, NONE, NOTE, UNANSWERABLE, VALUE, KeyFacts
from mnemic.training.config import TrainConfig
from mnemic.training.shell import Shell

LAPTOP = sizes("laptop")
GOOD = {
    ("RwR", "segments"): dict.fromkeys((0, *MULTIPLES), 0.95),
    ("RwR", "note"): {0: 1.0, 1: 1.0, 2: 0.9, 4: 0.7, 8: 0.3, 16: 0.3},
    ("RwR", "direct"): {0: 1.0, 1: 1.0, 2: 0.8, 4: 0.5, 8: 0.3, 16: 0.3},
}
POOR = dict.fromkeys((0, *MULTIPLES), 0.1)


def measured(**changes: float) -> dict:
    """What good models would have answered; a change is named like "RwR note 4"."""
    made = {}
    for arm, way in CASES:
        for question in questions(LAPTOP, arm):
            value = GOOD.get((arm, way), POOR)[question.multiple]
            value = changes.get(f"{arm} {way} {question.multiple}", value)
            one = Answered(accuracy=value, abstained=0, precision=None, recall=None, prefill_tokens_per_second=1.0,
                           decode_tokens_per_second=1.0)  # fmt: skip
            made[(arm, way), question] = [one] * SEEDS
    return made


def records(bytes_of=lambda arm: 1000) -> dict:
    def one(arm, seed):
        cost = {"memory_bytes": bytes_of(arm)}
        return Record.model_validate(
            {"run": f"{arm}{seed}", "task": "key-facts", "memory": arm, "seed": seed, "cost": cost}
        )

    return {seed: {arm: one(arm, seed) for arm in ARMS} for seed in range(SEEDS)}


def broken(found) -> set[int]:
    return {index for index, claim in enumerate(found) if not claim.holds}


def test_the_catalogue_leads_to_study_and_recipe() -> None:
    assert resolve(find_study("recall-with-reasoning").target) is study
    recipe = RECIPES["recall-with-reasoning"]
    assert recipe.study == "recall-with-reasoning"
    assert callable(resolve(recipe.target))
    assert set(resolve(recipe.rules).model_fields) >= {"empty_ratio", "plain_ratio"}


def test_all_claims_hold_for_numbers_that_meet_every_threshold() -> None:
    found = claims(measured(), records(), [])
    assert [claim.text[0] for claim in found] == [*"A", *"BBBB", *"CCCCC", "D", "E", "F"]
    assert broken(found) == set()


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"plain direct 1": 1.0}, set()),
        ({"plain direct 1": 1.0, "RwR note 1": 0.99}, {0}),
        ({"plain direct 2": 0.61}, {1}),
        ({"RwR direct 2": 0.83}, {2}),
        ({"plain direct 4": 0.41}, {3}),
        ({"RwR direct 4": 0.63}, {4}),
        ({"RwR segments 4": 0.84, "RwR note 4": 0.69}, {5}),
        ({"RwR note 4": 0.81}, {6}),
        ({"RwR segments 8": 0.84}, {7}),
        ({"RwR note 8": 0.56}, {8}),
        ({"ReMamba direct 16": 0.95}, {9}),
        ({"RwR, empty 0.15 segments 16": 0.95}, {9}),
        ({"RwR, empty 0 segments 4": 0.76}, {10}),
        ({"RwR direct 0": 0.94, "plain direct 0": 1.0}, {11}),
    ],
)
def test_each_accuracy_breaks_its_own_claim_and_no_other(changes, which) -> None:
    assert broken(claims(measured(**changes), records(), [])) == which


def test_states_of_two_sizes_break_the_last_claim() -> None:
    found = claims(measured(), records(lambda arm: 1000 + (arm == "ReMamba")), [])
    assert broken(found) == {12}
    assert found[12].measured == "1,000 bytes, 1,001 bytes"


def test_what_was_not_measured_holds_nothing() -> None:
    assert broken(claims({}, {}, [])) == set(range(13))
    two_seeds = {case: of_seed[:2] for case, of_seed in measured().items()}
    assert broken(claims(two_seeds, records(), [])) == set(range(12))


def test_every_run_can_be_built_and_reads_the_same_contexts() -> None:
    for scale in ("laptop", "gpu"):
        size = sizes(scale)
        runs = specs(size, 1)
        assert set(runs) == set(ARMS) == {arm for arm, _ in CASES}
        assert set(NAMES) == set(CASES)
        for spec in runs.values():
            spec.check()
            assert spec.training.seed == 1
            assert spec.task.rows_identity() == runs["plain"].task.rows_identity()
            assert spec.after.task == spec.task.replace(length=size.shortest)
            assert spec.after.after is None
        assert len({spec.id for spec in runs.values()}) == len(runs)
        updates = {arm: spec.training.steps + spec.after.training.steps for arm, spec in runs.items()}
        assert updates.pop("plain x2") == 2 * (size.training.steps + size.first_steps)
        assert set(updates.values()) == {size.training.steps + size.first_steps}


def test_questions_go_up_to_sixteen_times_the_length_and_facts_do_not() -> None:
    found = questions(LAPTOP, "RwR")
    assert {q.multiple: (t.length, t.facts) for q, t in found.items() if not q.absent} == {
        0: (16, 2), 1: (64, 8), 2: (128, 16), 4: (256, 32), 8: (512, 64), 16: (1024, 32),
    }  # fmt: skip
    assert all(t.absent == (0.3 if q.absent else 0.0) for q, t in found.items())
    assert questions(LAPTOP, "query first")[Question(2)].query == "before"


def test_ways_of_answering_are_read_rightly(monkeypatch) -> None:
    """A model that reads its prompt by rule is right in every way of asking, which no mistake of reading survives."""
    from mnemic.studies import rwr_answers
    from mnemic.teaching.rwr import segmented

    def by_rule(model, prompts, decoding, ends, **_):
        written = []
        for ids in map(list, prompts):
            at = next(i for i, token in enumerate(ids) if token == 1)
            told = {a: b for a, b in pairwise(ids) if a >= KEY and VALUE <= b < KEY}
            keys = ids[at + 1 : at + 3]
            values = [told.get(key, NONE) for key in keys]
            answer = UNANSWERABLE if NONE in values else VALUE + sum(v - VALUE for v in values) % 10
            note = [keys[0], values[0], keys[1], values[1], ANSWER, answer]
            out = note if ids[-1] == NOTE else [answer]
            cut = next((i for i, token in enumerate(out) if token in ends), len(out))
            written.append(out[:cut][: decoding.max_new_tokens])
        return written

    monkeypatch.setattr(rwr_answers, "complete", by_rule)
    monkeypatch.setattr(segmented, "complete", by_rule)
    size = replace(LAPTOP, questions=60)
    for way in ("direct", "note", "segments"):
        for question, task in questions(size, "RwR").items():
            found = answered(None, task, way, size, seed=3)
            assert found.accuracy == 1.0, (way, question)
            if question.absent:
                assert found.precision == found.recall == 1.0
    task = KeyFacts(length=64, facts=8, absent=0.0, query="before")
    assert answered(None, task, "direct", size, seed=3).accuracy == 1.0
    assert EOS != UNANSWERABLE


def test_a_cut_never_parts_a_key_from_its_value() -> None:
    from mnemic.studies.rwr_answers import _between_facts

    for ids in KeyFacts(length=512, form="note").sample("test", 40).input_ids.tolist():
        spans = _between_facts(ids[:512], 64)
        assert [a for a, _ in spans] == [0, *(b for _, b in spans[:-1])]
        assert spans[-1][1] == 512
        assert all(0 < b - a <= 64 for a, b in spans)
        assert all(ids[b - 1] < KEY for _, b in spans)


def test_figures_and_tables_show_what_there_is() -> None:
    titles = [chart.title for chart in figures(64, measured())]
    assert titles == ["Accuracy against the length of the context", "The share of empty notes in training"]
    assert figures(64, {}) == ()
    accuracies, abstention = sheets(LAPTOP, measured())
    assert accuracies.head == ("arm", "16", "64 (1x)", "128 (2x)", "256 (4x)", "512 (8x)", "1024 (16x)")
    row = dict(zip(accuracies.head, next(r for r in accuracies.rows if r[0] == "RwR + SSA"), strict=True))
    assert row["512 (8x)"] == "0.95\n0.95–0.95"
    assert all(len(row) == len(sheet.head) for sheet in (accuracies, abstention) for row in sheet.rows)
    assert len(accuracies.rows) == len(CASES)


def test_wrong_use_is_named(tmp_path) -> None:
    for seed in (6998, 7000, 7002):
        with pytest.raises(UsageError, match="cannot judge"):
            study("laptop", seed, tmp_path)
    with pytest.raises(UsageError, match="leave --search out"):
        study("laptop", 1, tmp_path, search=True)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="--scale gpu needs a CUDA device"):
            study("gpu", 1, tmp_path)


def test_a_tiny_study_runs_through_and_does_not_run_again(tmp_path, monkeypatch) -> None:
    quick = TrainConfig(steps=2, batch_size=4, lr=1e-3, eval_every=2, eval_rows=4, checkpoint_every=2)
    mixer = {"mixer": "mamba2", "head_width": 16, "state": 8}
    tiny = replace(
        LAPTOP, training=quick, first_steps=1, shell=Shell(width=16, depth=2, feed_forward=0), mixer=mixer, questions=4
    )
    for module in (recall_with_reasoning, rwr_claims):
        monkeypatch.setattr(module, "SEEDS", 1)
    monkeypatch.setattr(recall_with_reasoning, "sizes", lambda scale: tiny)
    seen = []
    first = study("laptop", 1, tmp_path, lambda event: seen.append(event.kind), jobs=2)
    assert seen.count("done") == 2 * len(ARMS)
    assert len(first.records) == len(ARMS)
    assert [record.error for record in first.records if record.status == "failed"] == []
    assert not first.holds
    assert not any(isinstance(claim.measured, float) and math.isnan(claim.measured) for claim in first.claims)
    assert first.claims[-1].holds
    seen.clear()
    again = study("laptop", 1, tmp_path, lambda event: seen.append(event.kind), jobs=2)
    assert set(seen) == {"kept", "measuring"}
    assert [claim.model_dump() for claim in again.claims] == [claim.model_dump() for claim in first.claims]
