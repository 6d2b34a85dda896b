"""`make fault`; see `tests.fault.run`."""

import sys

from tests.fault.run import main

if __name__ == "__main__":  # processes of the pool read this file as well
    sys.exit(main())
