"""The program of the stage `packed`: see mergetrace.stages.packed."""

from mergetrace.running.command_line import main
from mergetrace.stages import packed

if __name__ == "__main__":
    main(packed)
