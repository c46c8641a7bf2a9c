"""A file beside each saved config, by which tools that never import mnemic find its classes.

transformers has no entry points for models, but loads what a checkpoint names in `auto_map` when it is told
`trust_remote_code=True`. The file that we name there only points at the installed package, so there is one definition.
"""

from pathlib import Path
from typing import Final

__all__ = ["AUTO_MAP", "write_loader"]

_MODULE: Final = "load_mnemic"
_CODE: Final = '''\
"""What transformers loads this checkpoint by when told `trust_remote_code=True`; mnemic must be there."""

from mnemic.models import MnemicConfig, MnemicForCausalLM, MnemicModel
'''

AUTO_MAP: Final = {
    "AutoConfig": f"{_MODULE}.MnemicConfig",
    "AutoModel": f"{_MODULE}.MnemicModel",
    "AutoModelForCausalLM": f"{_MODULE}.MnemicForCausalLM",
}


def write_loader(folder: Path) -> None:
    (folder / f"{_MODULE}.py").write_text(_CODE, encoding="utf-8")
