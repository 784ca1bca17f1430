"""The program of the stage `mask`: see mergetrace.stages.mask."""

from mergetrace.running.command_line import main
from mergetrace.stages import mask

if __name__ == "__main__":
    main(mask)
