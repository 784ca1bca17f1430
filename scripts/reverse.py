"""The program of the stage `reverse`: see mergetrace.stages.reverse."""

from mergetrace.running.command_line import main
from mergetrace.stages import reverse

if __name__ == "__main__":
    main(reverse)
