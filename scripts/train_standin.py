"""The program of the stage `train_standin`: see mergetrace.stages.train_standin."""

from mergetrace.running.command_line import main
from mergetrace.stages import train_standin

if __name__ == "__main__":
    main(train_standin)
