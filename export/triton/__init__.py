"""Bundles as model repositories of Triton."""
