"""A model's files, read as what they are: untrusted."""
