"""Versions, options, refusals, the cap on blocks, and that nothing happens when the plugin is off."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace as Bag
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mnemic_vllm.block_cap import BlockCap
from mnemic_vllm.launch import serve_command
from mnemic_vllm.refusals import check
from mnemic_vllm.settings import KEY, Settings
from mnemic_vllm.versions import SUPPORTED, gate

from mnemic.errors import UsageError
from mnemic.teaching.memento.memento_file import MementoFile, write_memento_file
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

MARKERS = MarkerIds(1, 2, 3, 4)
HERE = Path(__file__).resolve().parents[1]
KNOWN = ".".join(map(str, next(iter(SUPPORTED)))) + ".2"


@pytest.mark.parametrize("found", ["0.12.0", "0.14.1", "1.13.0", "", "unknown"])
def test_an_unknown_version_is_refused_when_asked_for_and_warned_of_when_not(found: str) -> None:
    with pytest.raises(UsageError, match="mnemic-vllm knows vLLM"):
        gate(found, "on")
    with pytest.warns(RuntimeWarning, match="blocks are not evicted") as said:
        assert gate(found, "auto") is None
    assert len(said) == 1
    assert gate(found, "off") is None


def test_a_known_version_is_served() -> None:
    assert gate(KNOWN, "on") == gate(f"{KNOWN}+cu130", "auto") == next(iter(SUPPORTED.values()))


@pytest.mark.parametrize(("mode", "code"), [(None, 0), ("off", 0), ("auto", 0), ("on", 1), ("maybe", 1)])
def test_registering_touches_nothing_of_vllm(mode: str | None, code: int) -> None:
    script = (
        "import sys, mnemic_vllm\n"
        "try:\n    mnemic_vllm.register()\n"
        "except Exception as error:\n    print(error, file=sys.stderr); failed = 1\n"
        "else:\n    failed = 0\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('vllm', 'torch', 'transformers')]\n"
        "sys.exit(failed)"
    )
    source = HERE.parents[1] / "src"
    environment = {"PYTHONPATH": f"{HERE / 'src'}:{source}", "PATH": ""} | ({"MNEMIC_VLLM": mode} if mode else {})
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr


def test_the_package_declares_its_entry_point() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["vllm.general_plugins"] == {"mnemic": "mnemic_vllm:register"}


def test_the_launcher_says_what_the_checkpoint_says(tmp_path: Path) -> None:
    rules = MementoRules(keep_last_n_blocks=1, max_block_tokens=500)
    write_memento_file(tmp_path, MementoFile(marker_ids=MARKERS, trained_with="memento", rules=rules))
    command = serve_command(tmp_path, ["--port", "1"])
    assert command[:3] == ["vllm", "serve", str(tmp_path)]
    assert command[-2:] == ["--port", "1"]
    given = json.loads(command[command.index("--additional-config") + 1])
    assert Settings.of(Bag(additional_config=given)) == Settings(mode="on", markers=MARKERS, rules=rules)
    for option in ("--scheduler-cls", "--worker-cls", "--logits-processors"):
        module, _, name = command[command.index(option) + 1].rpartition(".")
        source = HERE / "src" / f"{module.replace('.', '/')}.py"
        assert f"class {name}(" in source.read_text("utf-8")
    write_memento_file(tmp_path, MementoFile(marker_ids=MARKERS, trained_with="full"))
    with pytest.raises(UsageError, match="never did without its blocks"):
        serve_command(tmp_path)


def test_options_are_checked_and_off_means_absent() -> None:
    def of(options: Any) -> Settings | None:
        return Settings.of(Bag(additional_config={KEY: options}))

    assert Settings.of(Bag()) is None
    assert Settings.of(Bag(additional_config={"other": 1})) is None
    assert of({"mode": "off", "markers": [1, 2, 3, 4]}) is None
    settings = of({"markers": [1, 2, 3, 4], "rules": {"keep_last_n_blocks": 1}})
    assert settings is not None
    assert settings.markers.summary_end == 4
    assert settings.rules.keep_last_n_blocks == 1
    with pytest.raises(UsageError, match="unknown option 'marker'"):
        of({"markers": [1, 2, 3, 4], "marker": [1]})
    with pytest.raises(UsageError, match="markers"):
        of({"markers": [1, 2, 3]})
    with pytest.raises(UsageError, match="mapping"):
        of(3)


class FullAttentionSpec:
    sliding_window: int | None = None


class SlidingWindowSpec:
    sliding_window = 128


class MambaSpec:
    pass


def engine() -> Any:
    return Bag(
        cache_config=Bag(enable_prefix_caching=False),
        scheduler_config=Bag(async_scheduling=False),
        parallel_config=Bag(pipeline_parallel_size=1, tensor_parallel_size=8),
        model_config=Bag(is_encoder_decoder=False, use_mla=False),
        speculative_config=None,
        kv_transfer_config=None,
    )


def cache(*specs: Any) -> Any:
    return Bag(kv_cache_groups=[Bag(kv_cache_spec=spec) for spec in specs])


def test_what_can_be_served_is() -> None:
    check(engine(), cache(FullAttentionSpec()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: setattr(c.cache_config, "enable_prefix_caching", True), "prefix caching"),
        (lambda c: setattr(c.scheduler_config, "async_scheduling", True), "async scheduling"),
        (lambda c: setattr(c.parallel_config, "pipeline_parallel_size", 2), "pipeline parallelism is 2"),
        (lambda c: setattr(c.parallel_config, "decode_context_parallel_size", 4), "decode context parallelism is 4"),
        (lambda c: setattr(c, "speculative_config", Bag()), "speculative"),
        (lambda c: setattr(c, "kv_transfer_config", Bag()), "KV connector"),
        (lambda c: setattr(c.model_config, "is_encoder_decoder", True), "encoder-decoder"),
        (lambda c: setattr(c.model_config, "use_mla", True), "MLA"),
    ],
)
def test_what_cannot_be_served_is_named(change: Callable[[Any], None], words: str) -> None:
    config = engine()
    change(config)
    with pytest.raises(UsageError, match=words):
        check(config)


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([SlidingWindowSpec()], "1 of 1 groups of layers see a window"),
        ([FullAttentionSpec(), SlidingWindowSpec()], "1 of 2 groups of layers see a window"),
        ([FullAttentionSpec(), MambaSpec()], "MambaSpec"),
        ([FullAttentionSpec(), FullAttentionSpec()], "2 groups"),
    ],
)
def test_layers_that_cannot_be_served_are_named(specs: list[Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check(engine(), cache(*specs))


def test_all_reasons_are_given_at_once() -> None:
    config = engine()
    config.cache_config.enable_prefix_caching = True
    config.scheduler_config.async_scheduling = True
    with pytest.raises(UsageError, match=r"prefix caching.*async scheduling"):
        check(config)


@given(st.lists(st.integers(0, 8), max_size=40), st.integers(1, 4), st.data())
def test_no_block_grows_past_the_cap(wishes: list[int], limit: int, data: st.DataObject) -> None:
    """A sampler that wants any tokens gets them, but never more than the limit inside one block."""
    cap, output = BlockCap(MARKERS, limit), []
    for wish in wishes:
        logits = cap(output, torch.where(torch.arange(9) == wish, 5.0, 0.0))
        output.append(int(logits.argmax()))
        if data.draw(st.integers(0, 9)) == 0:  # a token is taken back, as vLLM may
            output.pop()
    starts: list[int] = []
    for position, token in enumerate(output):
        if token == MARKERS.block_end:
            starts = starts[:-1]
            continue
        assert not starts or position - starts[-1] - 1 < limit, output
        starts += [position] * (token == MARKERS.block_start)


def test_outside_blocks_the_cap_changes_nothing() -> None:
    cap = BlockCap(MARKERS, 2)
    logits = torch.arange(9.0)
    for output in ([], [7] * 50, [1, 9], [1, 9, 9, 2, 3, *[8] * 20]):
        assert torch.equal(cap(output, logits.clone()), logits)
    forced = cap([1, 9, 9], logits.clone())
    assert forced.argmax() == MARKERS.block_end
    assert torch.isinf(forced).sum() == 8


def test_rules_reach_the_cap_by_the_settings() -> None:
    settings = Settings.of(Bag(additional_config={KEY: {"markers": [1, 2, 3, 4], "rules": {"max_block_tokens": 7}}}))
    assert settings is not None
    assert settings.rules == MementoRules(max_block_tokens=7)
