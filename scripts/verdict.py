"""The program of the stage `verdict`: see mergetrace.stages.verdict."""

from mergetrace.running.command_line import main
from mergetrace.stages import verdict

if __name__ == "__main__":
    main(verdict)
