"""Checkpoints that are whole or not there: written aside, synced, renamed, and read back without pickle.

step-00000300/
  model.safetensors       parameters and buffers, shared ones once
  optimizer.safetensors   the optimiser's tensors, named "<index of the parameter>.<what>"
  rng.safetensors         states of torch's and numpy's generators
  state.json              everything that is no tensor: step, data position, curve, generators, optimiser's groups
  manifest.json           size and SHA-256 of the files above
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn
from torch.optim import Optimizer

from mnemic.errors import MnemicError, UsageError
from mnemic.training import randomness, sharding

__all__ = ["checkpoints", "discard", "load_newest", "save", "step_of"]

log = logging.getLogger(__name__)
_PREFIX = "step-"


def save(
    folder: Path,
    step: int,
    model: nn.Module | dict[str, Tensor],
    optimizer: Optimizer | dict[str, Any],
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of `step` and drop all but the newest `keep`.

    Frozen parameters are not written: they are where the model came from.

    Args:
        folder: where the checkpoints of one run lie.
        model, optimizer: themselves, or what `sharding` has gathered of them.
        state: what is to be read back beside model, optimiser and generators; JSON.

    Raises:
        MnemicError: the disk is full or the folder cannot be written; the checkpoints that were there still are.
    """
    target = folder / f"{_PREFIX}{step:08d}"
    aside = folder / f".{target.name}.{os.getpid()}"
    try:
        with _removed_on_failure(aside):
            aside.mkdir(parents=True)
            _write_parts(aside, model, optimizer, state)
            if target.exists():
                shutil.rmtree(target)
            aside.rename(target)
            _sync(folder)
    except (OSError, SafetensorError) as failed:
        raise MnemicError(_why_not_written(failed, target, checkpoints(folder))) from failed
    for old in [*checkpoints(folder)[:-keep], *folder.glob(f".{_PREFIX}*")]:  # the latter: of a killed writer
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_newest(folder: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any] | None:
    """Restore model, optimiser and generators from the newest whole checkpoint and return its `state`.

    A damaged checkpoint is named in a warning and the one before it is taken. None: there is none yet.

    Raises:
        MnemicError: there are checkpoints, and all of them are damaged.
        UsageError: the checkpoint belongs to a model of another shape.
    """
    damage: list[str] = []
    for path in reversed(checkpoints(folder)):
        said = _damage(path)
        if said is None:
            if damage:
                log.warning("%s; going on from %s", "; ".join(damage), path.name)
            return _restore(path, model, optimizer)
        damage.append(f"checkpoint {path} is damaged: {said}")
    if damage:
        raise MnemicError(f"{'; '.join(damage)}; no whole checkpoint is left, remove {folder} to start anew")
    return None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob(f"{_PREFIX}*") if p.is_dir())


def step_of(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def discard(folder: Path) -> None:
    """Remove a finished run's checkpoints."""
    shutil.rmtree(folder, ignore_errors=True)


def _write_parts(
    aside: Path, model: nn.Module | dict[str, Tensor], optimizer: Optimizer | dict[str, Any], state: dict[str, Any]
) -> None:
    tensors, groups, scalars = _optimizer_parts(optimizer)
    generators, generator_state = randomness.capture()
    _write_weights(aside / "model.safetensors", model)
    save_file(tensors, aside / "optimizer.safetensors")
    save_file(generators, aside / "rng.safetensors")
    whole = {"state": state, "generators": generator_state, "groups": groups, "scalars": scalars}
    (aside / "state.json").write_text(json.dumps(whole))
    manifest = {path.name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in sorted(aside.iterdir())}
    (aside / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for path in aside.iterdir():
        _sync(path)
    _sync(aside)


def _write_weights(path: Path, model: nn.Module | dict[str, Tensor]) -> None:
    if isinstance(model, nn.Module) and not _has_frozen(model):
        save_model(model, str(path))
        return
    weights = sharding.gathered_weights(model, keep=True) if isinstance(model, nn.Module) else model
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)


def _has_frozen(model: nn.Module) -> bool:
    return any(not p.requires_grad for p in model.parameters())


def _optimizer_parts(
    optimizer: Optimizer | dict[str, Any],
) -> tuple[dict[str, Tensor], list[dict[str, Any]], dict[str, Any]]:
    """Tensors, groups and the rest of an optimiser's state, apart."""
    whole = optimizer.state_dict() if isinstance(optimizer, Optimizer) else optimizer
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, values in whole["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value.contiguous()
            else:
                scalars[f"{index}.{name}"] = value
    return tensors, whole["param_groups"], scalars


def _restore(path: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    whole = json.loads((path / "state.json").read_text())
    try:
        if _has_frozen(model) or any(sharding.is_cut(p) for p in model.parameters()):
            sharding.load_weights(model, load_file(path / "model.safetensors"))
        else:
            load_model(model, path / "model.safetensors")
    except RuntimeError as other:
        reason = str(other).splitlines()[-1].strip()
        raise UsageError(f"checkpoint {path} belongs to another model: {reason}") from other
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**load_file(path / "optimizer.safetensors"), **whole["scalars"]}.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    state = sharding.scattered_optimizer(optimizer, state)
    optimizer.load_state_dict({"state": state, "param_groups": whole["groups"]})
    randomness.restore(load_file(path / "rng.safetensors"), whole["generators"])
    result: dict[str, Any] = whole["state"]
    return result


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, None when they are as they were written."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        for name, wanted in manifest.items():
            size = (path / name).stat().st_size
            if size != wanted["bytes"]:
                return f"{name} has {size} bytes, {wanted['bytes']} were written"
            if _digest(path / name) != wanted["sha256"]:
                return f"{name} is not what was written (its SHA-256 differs)"
    except FileNotFoundError as missing:
        return f"{Path(str(missing.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as unreadable:
        return f"manifest.json cannot be read ({unreadable})"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _why_not_written(failed: Exception, target: Path, kept: list[Path]) -> str:
    full = getattr(failed, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(failed)
    why = "the disk is full" if full else getattr(failed, "strerror", None) or str(failed)
    still = f"the checkpoint of {kept[-1].name} is kept" if kept else "no earlier checkpoint was there"
    return f"cannot write checkpoint {target}: {why}; {still}; make room or name another folder, then resume"
