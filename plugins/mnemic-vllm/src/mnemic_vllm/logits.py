"""For vLLM's option --logits-processors."""

from typing import Any

from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from mnemic_vllm.block_cap import BlockCap
from mnemic_vllm.settings import Settings, assistant_spans
from mnemic_vllm.versions import gate, installed_version

__all__ = ["BlockLengthCap"]


class BlockLengthCap(AdapterLogitsProcessor):
    """Closes blocks at the length that the rules' max_block_tokens allows; without one it does nothing."""

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request early, where only it fails (vLLM asks when one comes in, in versions that do)."""
        assistant_spans(sampling_params)

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        settings = Settings.of(vllm_config)
        known = settings is not None and gate(installed_version(), settings.mode) is not None
        self._settings = settings if known else None

    def is_argmax_invariant(self) -> bool:
        return self._settings is None or self._settings.rules.max_block_tokens == 0

    def new_req_logits_processor(self, params: Any) -> BlockCap | None:
        if self._settings is None or self._settings.rules.max_block_tokens == 0:
            return None
        return BlockCap(self._settings.markers, self._settings.rules.max_block_tokens)
