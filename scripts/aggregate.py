"""The program of the stage `aggregate`: see mergetrace.stages.aggregate."""

from mergetrace.running.command_line import main
from mergetrace.stages import aggregate

if __name__ == "__main__":
    main(aggregate)
