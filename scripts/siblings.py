"""The program of the stage `siblings`: see mergetrace.stages.siblings."""

from mergetrace.running.command_line import main
from mergetrace.stages import siblings

if __name__ == "__main__":
    main(siblings)
