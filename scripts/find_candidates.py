"""Whose model is it? See mergetrace.running.find_candidates."""

from mergetrace.running.command_line import guarded
from mergetrace.running.find_candidates import main

if __name__ == "__main__":
    guarded(main)
