"""Planted models and audits of them, for tests and benchmarks."""
