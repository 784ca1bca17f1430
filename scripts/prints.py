"""The program of the stage `prints`: see mergetrace.stages.prints."""

from mergetrace.running.command_line import main
from mergetrace.stages import prints

if __name__ == "__main__":
    main(prints)
