"""The program of the stage `merge_standin`: see mergetrace.stages.merge_standin."""

from mergetrace.running.command_line import main
from mergetrace.stages import merge_standin

if __name__ == "__main__":
    main(merge_standin)
