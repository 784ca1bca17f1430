"""The program of the stage `report`: see mergetrace.stages.report."""

from mergetrace.running.command_line import main
from mergetrace.stages import report

if __name__ == "__main__":
    main(report)
