"""MEMENTO in vLLM: a scheduler, a worker and a logits processor that vLLM loads by its own options.

Nothing here changes vLLM's files, and nothing of vLLM is imported until an option names one of the classes.
"""

from mnemic_vllm.versions import gate, installed_version, mode_from_environment

__all__ = ["register"]


def register() -> None:
    """vLLM calls this in each of its processes, before any model is loaded.

    It only asks whether this vLLM is one the plugin knows, so that a wrong one is refused early; the work is done by
    the classes that the options name.
    """
    mode = mode_from_environment()
    if mode != "off":
        gate(installed_version(), mode)
