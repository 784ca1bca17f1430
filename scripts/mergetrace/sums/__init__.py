"""Weights read once: the sums that every later number is made of, and the evidence that
is kept.
"""
