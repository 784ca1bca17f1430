"""Merges backward: the recipe that gives most of a model back, and what it leaves."""
