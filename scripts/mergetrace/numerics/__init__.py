"""Numbers as they are stored: dtypes and their lattices, rounded arithmetic, and the
numbers a person would write.
"""
