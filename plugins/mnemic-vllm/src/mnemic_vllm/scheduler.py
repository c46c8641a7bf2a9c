"""For vLLM's option --scheduler-cls."""

from vllm.v1.core.sched.scheduler import Scheduler

from mnemic_vllm.evicting_scheduler import EvictingScheduler

__all__ = ["MementoScheduler"]


class MementoScheduler(EvictingScheduler, Scheduler):
    """vLLM's scheduler, whose requests lose the blocks that a memento replaces."""
