"""``python -m deploytools.container COMMAND…``: the entrypoint of a container.

Imports nothing slow before SIGTERM is handled: as process 1 of a container, Python has no default handler for it.
"""

import os
import signal
import sys

signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))

if __name__ == "__main__":
    from deploytools.container.entrypoint import main

    main(sys.argv[1:], os.environ)
