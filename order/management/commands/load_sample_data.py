"""``manage.py load_sample_data``: fills a shop to look at (Step 9 of the guide)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError, connection
from django.utils import timezone

from order.sample_data import SampleDataInUse, load

#: SQLSTATE of a table that is not there.
UNDEFINED_TABLE = "42P01"


class Command(BaseCommand):
    """Makes the sample data that is missing; a second run changes nothing."""

    help = "Loads a sample catalogue with members, carts and orders. A second run changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--flush", action="store_true", help="Remove the sample data first (nothing else).")
        parser.add_argument("--force", action="store_true", help="With --flush, also under production settings.")

    def handle(self, *args: Any, flush: bool, force: bool, **options: Any) -> None:
        """Runs the command; one transaction, one sentence."""
        if flush and settings.PRODUCTION and not force:
            raise CommandError(
                "--flush removes the sample data, and these are the production settings: nothing was changed. "
                "If this shop may lose it: load_sample_data --flush --force",
                returncode=1,
            )
        tenant = connection.settings_dict["NAME"]
        try:
            loaded = load(timezone.now(), flush_first=flush)
        except SampleDataInUse as error:
            raise CommandError(
                f"The sample data is in use ({error}): nothing was changed. Delete these first, or do without --flush.",
                returncode=1,
            ) from error
        except ProgrammingError as error:
            if getattr(error.__cause__, "sqlstate", None) != UNDEFINED_TABLE:
                raise
            raise CommandError(
                f"{tenant} does not have the shop's tables. Run: python manage.py migrate", returncode=2
            ) from error
        except OperationalError as error:
            raise CommandError(f"{tenant} cannot be reached. Run: python manage.py check_rds", returncode=2) from error
        self.stdout.write(f"{tenant}: {loaded}")
