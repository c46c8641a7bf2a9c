"""Memories that learn while they read: weights of a small network, trained by its own gradients as tokens come.

What the parts are, and how they combine, is said in `core.py`; `naive.py` holds the definition, token by token.
"""
