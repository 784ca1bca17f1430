"""The program of the stage `ask`: see mergetrace.stages.ask."""

from mergetrace.running.command_line import main
from mergetrace.stages import ask

if __name__ == "__main__":
    main(ask)
