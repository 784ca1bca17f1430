"""The program of the stage `remainder`: see mergetrace.stages.remainder."""

from mergetrace.running.command_line import main
from mergetrace.stages import remainder

if __name__ == "__main__":
    main(remainder)
