"""A model's tensors under common names, cut into slices, and their elements."""
