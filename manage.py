#!/usr/bin/env python
"""Django's command-line utility; a configuration error is a sentence and a hint here, not a traceback."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn


def main() -> None:
    """Run the management command in ``sys.argv``."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "StartupWebApp.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        stop(f"{error}.\nHint: Install what it needs: pip install -r requirements/base.txt", 2)
    from deploytools.errors import DeployError, explain

    try:
        execute_from_command_line(sys.argv)
    except DeployError as error:
        stop(explain(error), error.exit_code)
    except ImproperlyConfigured as error:
        stop(f"{error}\nHint: See .env.example for what the environment must hold.", 2)
    except KeyboardInterrupt:
        stop("Interrupted.\nHint: Run the same command again.", 130)


def stop(text: str, code: int) -> NoReturn:
    """Say why on stderr, after the traceback where one was asked for, and exit."""
    if "--traceback" in sys.argv:
        traceback.print_exc()
    sys.stderr.write(f"Error: {text}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
