"""Asking language models the questions of text tasks: who answers, what an answer is worth, what came of it."""
