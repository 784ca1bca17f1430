"""The program of the stage `rebuild`: see mergetrace.stages.rebuild."""

from mergetrace.running.command_line import main
from mergetrace.stages import rebuild

if __name__ == "__main__":
    main(rebuild)
