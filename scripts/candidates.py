"""The program of the stage `candidates`: see mergetrace.stages.candidates."""

from mergetrace.running.command_line import main
from mergetrace.stages import candidates

if __name__ == "__main__":
    main(candidates)
