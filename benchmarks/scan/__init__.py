"""Scans measured: planted ones, many prints, many candidates, interruptions."""
