"""Actions on behavior projects on disk: make, fill, check, correct and export them; no torch."""
