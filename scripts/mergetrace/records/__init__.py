"""What one stage hands to another as JSON, as typed records."""
