"""The program of the stage `propose`: see mergetrace.stages.propose."""

from mergetrace.running.command_line import main
from mergetrace.stages import propose

if __name__ == "__main__":
    main(propose)
