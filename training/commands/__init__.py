"""Subcommands of `ethostream` that the training package brings."""
