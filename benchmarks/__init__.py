"""Measurements: run one with `python -m benchmarks.NAME` from the folder of the
workflow.
"""
