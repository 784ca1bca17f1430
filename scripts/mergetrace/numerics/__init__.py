"""Numbers as they are stored: dtypes, their lattices, rounded arithmetic, the numbers a
person would write.
"""
