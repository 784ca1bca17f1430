"""The program of the stage `recipe`: see mergetrace.stages.recipe."""

from mergetrace.running.command_line import main
from mergetrace.stages import recipe

if __name__ == "__main__":
    main(recipe)
