"""The program of the stage `compare`: see mergetrace.stages.compare."""

from mergetrace.running.command_line import main
from mergetrace.stages import compare

if __name__ == "__main__":
    main(compare)
