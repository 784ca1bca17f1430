"""Folders as people publish them: each made by code with a seed, audited, and graded
against the answer that would be right.
"""
