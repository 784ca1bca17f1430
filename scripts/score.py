"""The program of the stage `score`: see mergetrace.stages.score."""

from mergetrace.running.command_line import main
from mergetrace.stages import score

if __name__ == "__main__":
    main(score)
