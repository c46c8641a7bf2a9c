"""The causal language model that hosts mixers, known to transformers' auto classes."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from mnemic.models.config import MnemicConfig
from mnemic.models.convert import from_transformers
from mnemic.models.host import MnemicForCausalLM, MnemicModel

__all__ = ["MnemicConfig", "MnemicForCausalLM", "MnemicModel", "from_transformers"]

AutoConfig.register("mnemic", MnemicConfig, exist_ok=True)
AutoModel.register(MnemicConfig, MnemicModel, exist_ok=True)
AutoModelForCausalLM.register(MnemicConfig, MnemicForCausalLM, exist_ok=True)
