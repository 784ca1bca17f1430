"""The program of the stage `bundle`: see mergetrace.stages.bundle."""

from mergetrace.running.command_line import main
from mergetrace.stages import bundle

if __name__ == "__main__":
    main(bundle)
