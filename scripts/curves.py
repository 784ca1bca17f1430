"""The program of the stage `curves`: see mergetrace.stages.curves."""

from mergetrace.running.command_line import main
from mergetrace.stages import curves

if __name__ == "__main__":
    main(curves)
