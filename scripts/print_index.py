"""The program of the stage `print_index`: see mergetrace.stages.print_index."""

from mergetrace.running.command_line import main
from mergetrace.stages import print_index

if __name__ == "__main__":
    main(print_index)
