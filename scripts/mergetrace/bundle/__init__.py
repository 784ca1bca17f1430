"""The evidence bundle: packed, sealed, and checked by a stranger."""
