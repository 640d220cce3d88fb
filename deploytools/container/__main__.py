"""``python -m deploytools.container COMMAND…``: the entrypoint of a container.

Imports nothing slow before SIGTERM is handled: as process 1 of a container, Python has no default handler for it.
"""

import os
import signal
import sys

from deploytools.signals import exit_process_on

exit_process_on(signal.SIGTERM)

if __name__ == "__main__":
    from deploytools.container.entrypoint import main

    main(sys.argv[1:], os.environ)
