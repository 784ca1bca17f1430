"""The recipe given back to its owner, as something to run."""
