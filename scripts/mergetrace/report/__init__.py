"""The page people read, and the other pages."""
