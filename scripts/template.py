"""The program of the stage `template`: see mergetrace.stages.template."""

from mergetrace.running.command_line import main
from mergetrace.stages import template

if __name__ == "__main__":
    main(template)
