"""A run: who started it, how far it is, what it left behind."""
