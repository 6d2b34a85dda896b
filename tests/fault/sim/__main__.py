"""Lives of the simulation from the command line: one with its history, or many."""

import argparse
import sys
import time

from tests.fault.sim.lives import KINDS, live, many


def main() -> int:
    """Returns the exit status: 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault.sim", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--seed", type=int, help="one life, with its history")
    parser.add_argument("--seeds", default="0:300", help="FIRST:END")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        found = live(arguments.kind, arguments.seed)
        sys.stdout.write("\n".join([*found.history, found.told(), ""]))
        return int(not found.right)
    first, end = (int(number) for number in arguments.seeds.split(":"))
    began_s = time.monotonic()
    total = many(arguments.kind, range(first, end))
    sys.stdout.write(f"{total.told()}\n{time.monotonic() - began_s:.1f} s\n")
    return int(not total.right)


sys.exit(main())
