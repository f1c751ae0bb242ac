"""Subcommands of `ethostream` that the server application brings."""
