"""Whether a batch fits into memory, and which would: measured on one row before the first step."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

from mnemic.errors import MnemicError
from mnemic.training.objective import AskedLoss, Batch

__all__ = ["Need", "available_bytes", "batch_that_fits", "is_out_of_memory", "measure", "refuse_if_too_large"]

_TRANSIENT = 1.5  # what passes through a step is more than what it keeps for its gradients


@dataclass(frozen=True)
class Need:
    """Bytes of a training step: `fixed` for gradients and AdamW's averages, `per_row` for what a row keeps."""

    fixed: int
    per_row: int

    def of(self, rows: int) -> int:
        return self.fixed + int(_TRANSIENT * self.per_row * rows)

    def rows_in(self, free: int) -> int:
        """The largest power of two of rows that fits into `free` bytes, 0 when not even one does."""
        rows = int((free - self.fixed) / (_TRANSIENT * self.per_row))
        return 1 << (rows.bit_length() - 1) if rows > 0 else 0


def measure(objective: AskedLoss, row: Batch) -> Need:
    """Run one row forward and count what autograd keeps of it; each storage counts once, the weights not at all."""
    weights = {p.untyped_storage().data_ptr() for p in objective.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = objective(row)
    del loss
    trained = sum(p.nbytes for p in objective.parameters() if p.requires_grad)
    return Need(fixed=3 * trained, per_row=max(1, sum(kept.values())))


def refuse_if_too_large(need: Need, rows: int, device: torch.device) -> None:
    """Stop before the kernel's out-of-memory killer does, which would leave no word.

    Raises:
        MnemicError: a step of that many rows needs more memory than there is.
    """
    free = available_bytes(device)
    if need.of(rows) > free:
        needed, there = _readable(need.of(rows)), _readable(free)
        raise MnemicError(f"{rows} rows at once need about {needed}, {there} are free; {batch_that_fits(need, free)}")


def batch_that_fits(need: Need, free: int, most: int | None = None) -> str:
    """What to write instead, at most `most` rows."""
    rows = need.rows_in(free) if most is None else min(most, need.rows_in(free))
    if not rows:
        return "not even one row fits: make the model or the length smaller"
    return f"batch_size={rows} would fit, or accumulation so that a piece has at most {rows} rows"


def available_bytes(device: torch.device) -> int:
    """What a new allocation may still take: of the device, or of this machine and the container it runs in."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    available = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is None or used is None:
        return available
    return min(available, max(0, limit - used + _reclaimable(group / "memory.stat")))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the device or on the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(path: Path) -> int:
    """Bytes of the file cache that the kernel gives up before it kills."""
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _readable(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
