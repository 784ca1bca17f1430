"""The model asked who it is: templates, questions, answers, the names in them."""
