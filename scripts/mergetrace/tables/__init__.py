"""The tables that stages write: their columns, units and meanings."""
