"""The program of the stage `carriers`: see mergetrace.stages.carriers."""

from mergetrace.running.command_line import main
from mergetrace.stages import carriers

if __name__ == "__main__":
    main(carriers)
