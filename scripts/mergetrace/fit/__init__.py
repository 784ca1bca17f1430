"""From sums to numbers: alpha, cos_fit, shares, coverage, each with its error, pooled."""
