"""The program of the stage `gate`: see mergetrace.stages.gate."""

from mergetrace.running.command_line import main
from mergetrace.stages import gate

if __name__ == "__main__":
    main(gate)
