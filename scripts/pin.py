"""The program of the stage `pin`: see mergetrace.stages.pin."""

from mergetrace.running.command_line import main
from mergetrace.stages import pin

if __name__ == "__main__":
    main(pin)
