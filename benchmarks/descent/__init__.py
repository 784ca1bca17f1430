"""The descent zoo: models trained on after they were merged, relatives that look like
them, and what the audit says of each.
"""
