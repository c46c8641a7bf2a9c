"""Models and tasks so small that a training run takes a tenth of a second."""

import pytest
import torch

from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.tasks import TaskConfig, parse_task

TINY_TASK = "mqar:pairs=2,length=16,vocab=32"


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def task() -> TaskConfig:
    return parse_task(TINY_TASK)


@pytest.fixture
def make_model():
    def make(seed: int = 0, **options) -> MnemicForCausalLM:
        torch.manual_seed(seed)
        defaults = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "layers": [{"mixer": "attention"}]}
        return MnemicForCausalLM(MnemicConfig(**{**defaults, **options}))

    return make
