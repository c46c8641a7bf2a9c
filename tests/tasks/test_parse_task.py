import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.tasks import parse_task
from mnemic.tasks.induction import Induction
from mnemic.tasks.joint_recall import JointRecall
from mnemic.tasks.mqar import MQAR


def test_a_spec_sets_the_options_it_names_and_leaves_the_others():
    task = parse_task("mqar:pairs=4,length=32,power=0.5,filler=random,vocab=256")
    assert task == MQAR(pairs=4, length=32, power=0.5, filler="random", vocab=256)
    assert parse_task("joint-recall:contexts=5-16,sample-ids=true") == JointRecall(contexts=(5, 16), sample_ids=True)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("mqra", ["'mqra'", "'mqar'"]),
        ("mqar:pears=8", ["mqar", "'pears'", "'pairs'"]),
        ("mqar:8", ["'8'", "pairs", "length"]),
        ("mqar:pairs=abc", ["pairs=abc", "integer"]),
        ("mqar:pairs=0", ["pairs=0", "greater than or equal to 1"]),
        ("mqar:form=mda", ["form=mda", "'mad'", "'stacked'"]),
        ("mqar:pairs=32", ["pairs=32", "length=128", "length=64"]),
        ("mqar:passes=4", ["length=80", "length=64"]),
        ("mqar:length=63", ["length=63", "even"]),
        ("mqar:vocab=64", ["vocab=64", "length=64"]),
        ("mqar:vocab=258,length=256,pairs=64,form=forgetting,updates=65", ["updates=65", "pairs=64"]),
        ("mqar:vocab=8,pairs=5,form=stacked", ["pairs=5", "at most 4", "vocab=8"]),
        ("mqar:vocab=9,pairs=2,form=stacked", ["vocab=9", "even"]),
        ("mqar:form=compositional", ["pairs=8", "4 or 9"]),
        ("mqar:form=compositional,pairs=16", ["pairs=16", "length=96", "length=64"]),
        ("mqar:updates=3", ["'updates'", "form=zoology"]),
        ("mqar:form=mad,pairs=4", ["'pairs'", "form=mad", "length"]),
        ("mqar:form=stacked,train_on=all", ["train_on=all", "stacked"]),
        ("mqar:power=nan", ["power=nan", "finite"]),
        ("mqar:power=0", ["power=0", "greater than 0"]),
        ("associative-recall:vocab=5", ["vocab=5", "vocab=6"]),
        ("induction:form=repeat,length=9", ["length=9", "even"]),
        ("induction:length=9999999", ["length=9999999", "1048576"]),
        ("joint-recall:contexts=5-3", ["contexts=5-3", "smaller to the larger"]),
        ("joint-recall:contexts=x", ["contexts=x", "integer"]),
        ("joint-recall:queries=x", ["queries=x", "'all'", "integer"]),
        ("joint-recall:contexts=2,keys=2,queries=9", ["queries=9", "at most 4"]),
        ("joint-recall:levels=6", ["levels=6", "1048576"]),
        ("joint-recall:sample_ids=maybe", ["sample_ids=maybe", "boolean"]),
    ],
)
def test_wrong_specs_name_the_option_the_value_and_what_would_be_right(spec, parts):
    with pytest.raises(UsageError) as raised:
        parse_task(spec)
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    "spec",
    [
        "mqar:vocab=42,length=40,pairs=10,form=forgetting",
        "mqar:vocab=13,length=12,pairs=2,form=forgetting,updates=2",
        "mqar:vocab=32,length=1000,form=mad",
        "mqar:vocab=8,pairs=4,form=stacked",
        "mqar:vocab=62,length=60,passes=9,pairs=3",
        "mqar:vocab=97,length=96,pairs=16,form=compositional",
        "joint-recall:contexts=2,keys=2,queries=4",
    ],
)
def test_what_just_fits_is_accepted_and_answered(spec):
    task = parse_task(spec)
    rows = task.sample("test", 20)
    assert (task.oracle(rows.input_ids if rows.inputs is None else rows.inputs) == rows.labels).all()


def test_wrong_options_from_python_say_the_same_as_from_the_command_line():
    with pytest.raises(UsageError, match="did you mean 'pairs'"):
        MQAR(pears=8)
    with pytest.raises(UsageError, match="pairs=40 need length=160"):
        MQAR(pairs=40)


@given(
    st.builds(
        dict,
        pairs=st.integers(1, 8),
        passes=st.integers(1, 2),
        power=st.sampled_from([0.01, 0.5, 1.0]),
        filler=st.sampled_from(["zero", "random"]),
        vocab=st.sampled_from([256, 8192]),
        train_on=st.sampled_from(["asked", "all"]),
    )
)
def test_a_task_is_read_back_from_its_spec_and_from_json(options):
    task = MQAR(**options)
    assert parse_task(task.spec()) == task
    assert MQAR.model_validate(json.loads(task.model_dump_json())) == task


@pytest.mark.parametrize("contexts", [4, (2, 5)])
@pytest.mark.parametrize("queries", ["all", 2])
def test_joint_recall_is_read_back_from_its_spec_and_from_json(contexts, queries):
    task = JointRecall(contexts=contexts, keys=3, queries=queries, sample_ids=True)
    assert parse_task(task.spec()) == task
    assert JointRecall.model_validate(json.loads(task.model_dump_json())) == task


def test_specs_leave_out_defaults():
    assert MQAR().spec() == "mqar"
    assert MQAR(vocab=256, pairs=8).spec() == "mqar:vocab=256"
    assert Induction(form="repeat", length=64).spec() == "induction:form=repeat,length=64"
    assert JointRecall(contexts=(5, 16)).spec() == "joint-recall:contexts=5-16"


def test_replace_checks_again():
    assert MQAR(pairs=4).replace(length=32) == MQAR(pairs=4, length=32)
    with pytest.raises(UsageError, match="pairs=9"):
        MQAR(pairs=4, length=32).replace(pairs=9)
