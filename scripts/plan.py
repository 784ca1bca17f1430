"""The program of the stage `plan`: see mergetrace.stages.plan."""

from mergetrace.running.command_line import main
from mergetrace.stages import plan

if __name__ == "__main__":
    main(plan)
