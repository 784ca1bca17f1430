"""How numbers are stored: quantisation, scales, packed codes."""
