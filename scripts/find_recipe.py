"""What did I do here? See mergetrace.running.find_recipe."""

from mergetrace.running.command_line import guarded
from mergetrace.running.find_recipe import main

if __name__ == "__main__":
    guarded(main)
