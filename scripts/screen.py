"""The program of the stage `screen`: see mergetrace.stages.screen."""

from mergetrace.running.command_line import main
from mergetrace.stages import screen

if __name__ == "__main__":
    main(screen)
