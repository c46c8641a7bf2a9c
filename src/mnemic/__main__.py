"""`python -m mnemic`, which is also what `accelerate launch -m mnemic train …` starts."""

from mnemic.cli import main

main()
