"""Take up the run that was interrupted: see mergetrace.running.resume."""

from mergetrace.running.command_line import guarded
from mergetrace.running.resume import main

if __name__ == "__main__":
    guarded(main)
