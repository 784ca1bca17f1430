"""Hundreds of planted audits."""
