"""The program of the stage `spectrum`: see mergetrace.stages.spectrum."""

from mergetrace.running.command_line import main
from mergetrace.stages import spectrum

if __name__ == "__main__":
    main(spectrum)
