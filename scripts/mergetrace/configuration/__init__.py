"""The configuration: read, checked, completed, documented."""
