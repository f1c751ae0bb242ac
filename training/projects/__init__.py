"""Labelled projects as a lab handles them: create, add videos, check, convert, merge, simulate."""
