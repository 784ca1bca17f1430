"""The program of the stage `shard`: see mergetrace.stages.shard."""

from mergetrace.running.command_line import main
from mergetrace.stages import shard

if __name__ == "__main__":
    main(shard)
