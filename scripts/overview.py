"""The program of the stage `overview`: see mergetrace.stages.overview."""

from mergetrace.running.command_line import main
from mergetrace.stages import overview

if __name__ == "__main__":
    main(overview)
