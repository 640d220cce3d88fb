#!/usr/bin/env python
"""Django's command-line utility. Errors of the configuration are shown as a message and a hint, without a traceback."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from typing import NoReturn


def main() -> None:
    """Run the management command in ``sys.argv``."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "StartupWebApp.settings")
    gc.set_threshold(100_000)  # Collecting garbage while modules are imported takes a tenth of a short command's time.
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        stop(f"{error}.\nHint: Install the requirements: pip install -r requirements/base.txt", 2)
    from deploytools.errors import DeployError, format_error

    try:
        execute_from_command_line(sys.argv)
    except DeployError as error:
        stop(format_error(error), error.exit_code)
    except ImproperlyConfigured as error:
        stop(f"{error}\nHint: Set the environment variables listed in .env.example.", 2)
    except KeyboardInterrupt:
        stop("Interrupted.\nHint: Run the command again.", 130)


def stop(text: str, code: int) -> NoReturn:
    """Write the error to stderr, with ``--traceback`` after the traceback, and exit."""
    if "--traceback" in sys.argv:
        traceback.print_exc()
    sys.stderr.write(f"Error: {text}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
