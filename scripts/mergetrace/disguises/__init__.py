"""Tensors that lie elsewhere than their names say: moved, renumbered, permuted,
multiplied, stored otherwise.
"""
