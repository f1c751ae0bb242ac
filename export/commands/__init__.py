"""Subcommands of `ethostream` that the export package brings."""
