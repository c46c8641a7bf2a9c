"""Asking models and memories about long histories, and scoring what they answer. No torch."""
