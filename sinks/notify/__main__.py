"""`python -m sinks.notify`: one notifier with the settings of the environment; SIGTERM and SIGINT stop it in order."""

import logging
import signal
import sys
import threading

from schemas.errors import GanzhiError
from schemas.settings import load
from sinks.notify.process import run


def main() -> int:
    """Runs until a signal; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(load(), stop.is_set)
    except GanzhiError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
