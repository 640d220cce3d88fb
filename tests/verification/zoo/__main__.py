"""Print the matrix of the zoo, or write the page of the checks: ``python -m tests.verification.zoo [--write]``."""

from __future__ import annotations

import os
import sys

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "StartupWebApp.settings")
    django.setup()
    from tests.verification.zoo import table

    if "--write" in sys.argv:
        table.PAGE.write_text(table.page(), encoding="utf-8")
    else:
        sys.stdout.write(f"{table.matrix()}\n")
