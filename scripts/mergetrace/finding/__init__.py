"""Numbers turned into words: the rules, the reasons, the receipt."""
