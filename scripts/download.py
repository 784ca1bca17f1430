"""The program of the stage `download`: see mergetrace.stages.download."""

from mergetrace.running.command_line import main
from mergetrace.stages import download

if __name__ == "__main__":
    main(download)
