"""Merges forward: a recipe applied to the parents, bit for bit as the tool does it."""
