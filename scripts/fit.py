"""The program of the stage `fit`: see mergetrace.stages.fit."""

from mergetrace.running.command_line import main
from mergetrace.stages import fit

if __name__ == "__main__":
    main(fit)
