"""Which slices count towards pooled numbers."""


def votes(
    component: str, dimensions: int, elements: int, min_vote_elements: int
) -> bool:
    """Whether a slice counts towards pooled numbers. A vector's few numbers follow
    their own rules (norms sit near 1, biases near 0).
    """
    return component != "norm" and dimensions > 1 and elements >= min_vote_elements
