"""For vLLM's option --worker-cls.

A worker class and no worker extension: vLLM puts an extension behind its own classes and refuses names that they have,
so that an extension can add methods and change none, and eviction changes two of the model runner's.
"""

from vllm.v1.worker.gpu_worker import Worker

from mnemic.errors import UsageError
from mnemic_vllm.evicting_runner import EvictingRunner
from mnemic_vllm.refusals import check
from mnemic_vllm.settings import Settings
from mnemic_vllm.versions import gate, installed_version

__all__ = ["MementoWorker"]


class MementoWorker(Worker):
    """vLLM's worker, whose model runner moves keys when blocks leave."""

    def init_device(self) -> None:
        super().init_device()
        settings = Settings.of(self.vllm_config)
        support = gate(installed_version(), settings.mode) if settings is not None else None
        if support is None:
            return
        check(self.vllm_config)
        kind = type(self.model_runner)
        if support.runner not in {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}:
            raise UsageError(
                f"mnemic-vllm extends {support.runner}; this worker runs {kind.__module__}.{kind.__qualname__} "
                "(unset VLLM_USE_V2_MODEL_RUNNER)"
            )
        # vLLM builds its runner inside init_device and offers no option to name another class
        self.model_runner.__class__ = type("MementoModelRunner", (EvictingRunner, kind), {})
