"""The program of the stage `adapter`: see mergetrace.stages.adapter."""

from mergetrace.running.command_line import main
from mergetrace.stages import adapter

if __name__ == "__main__":
    main(adapter)
