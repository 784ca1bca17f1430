"""The program of the stage `give_back`: see mergetrace.stages.give_back."""

from mergetrace.running.command_line import main
from mergetrace.stages import give_back

if __name__ == "__main__":
    main(give_back)
