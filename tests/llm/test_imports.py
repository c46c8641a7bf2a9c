"""The client is cheap to import, and mnemic itself does not import it."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("mnemic", ("httpx2", "mnemic.llm", "sqlite3")),
        ("mnemic.llm", ("torch", "transformers", "httpx2", "numpy")),
        ("mnemic.teaching.pipeline", ("torch", "transformers", "httpx2", "numpy")),
    ],
)
def test_what_an_import_does_not_load(module, absent):
    code = f"import sys, {module}; sys.exit(', '.join(name for name in {absent!r} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
