"""The demo's models, trained and merged in a minute."""
