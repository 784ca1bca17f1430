"""The program of the stage `manifest`: see mergetrace.stages.manifest."""

from mergetrace.running.command_line import main
from mergetrace.stages import manifest

if __name__ == "__main__":
    main(manifest)
