"""Say how far a run is, from another terminal or another machine that sees the results:
see mergetrace.running.progress. It never disturbs the run.
"""

from mergetrace.running.command_line import guarded
from mergetrace.running.progress import main

if __name__ == "__main__":
    guarded(main)
