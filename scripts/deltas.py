"""The program of the stage `deltas`: see mergetrace.stages.deltas."""

from mergetrace.running.command_line import main
from mergetrace.stages import deltas

if __name__ == "__main__":
    main(deltas)
