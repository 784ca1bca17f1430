"""The program of the stage `layout`: see mergetrace.stages.layout."""

from mergetrace.running.command_line import main
from mergetrace.stages import layout

if __name__ == "__main__":
    main(layout)
