"""The program of the stage `fetch_whole`: see mergetrace.stages.fetch_whole."""

from mergetrace.running.command_line import main
from mergetrace.stages import fetch_whole

if __name__ == "__main__":
    main(fetch_whole)
