"""``manage.py load_sample_data``: create sample data."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import CommandParser
from django.db import IntegrityError, OperationalError, ProgrammingError, connection
from django.utils import timezone

from deploytools.errors import ConfigurationError, DatabaseError, Refused
from deploytools.management.base import DeployCommand
from order.sample_data import Loaded, SampleDataInUse, load

#: SQLSTATE undefined_table.
UNDEFINED_TABLE = "42P01"


class Command(DeployCommand):
    """Create missing sample data; a second run changes nothing."""

    help = "Create sample products, members, carts and orders. Existing sample data is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--flush", action="store_true", help="Remove the existing sample data first. Other data is kept."
        )
        parser.add_argument("--force", action="store_true", help="Allow --flush with production settings.")

    def handle(self, *args: Any, flush: bool, force: bool, **options: Any) -> None:
        """Run the command in one transaction."""
        if flush and settings.PRODUCTION and not force:
            raise Refused(
                "--flush requires --force with production settings. Nothing was changed.",
                hint="To remove the sample data, run: python manage.py load_sample_data --flush --force",
            )
        tenant = connection.settings_dict["NAME"]
        self.stdout.write(f"{tenant}: {load_sample_data(str(tenant), flush=flush)}")


def load_sample_data(tenant: str, *, flush: bool) -> Loaded:
    """Run `load` and translate its errors.

    Raises:
        Refused: the sample data conflicts with other rows.
        DeployError: the database is not available or not migrated.
    """
    try:
        return load(timezone.now(), flush_first=flush)
    except SampleDataInUse as error:
        raise Refused(
            f"The sample data is in use by {error}. Nothing was changed.",
            hint="Delete these rows first, or run the command without --flush.",
        ) from error
    except IntegrityError as error:
        raise Refused(
            f"The sample data conflicts with a row of {tenant} ({constraint_name(error)}). Nothing was changed.",
            hint="Change that row in the admin, or load the sample data into a new shop.",
        ) from error
    except ObjectDoesNotExist as error:
        raise ConfigurationError(
            f"A reference row is missing in {tenant}: {error} Nothing was changed.",
            hint="Add the row in the admin with the identifier in order/migrations/0002_reference_rows.py.",
        ) from error
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", None) != UNDEFINED_TABLE:
            raise
        raise ConfigurationError(
            f"The tables of the shop do not exist in {tenant}.", hint="Run: python manage.py migrate"
        ) from error
    except OperationalError as error:
        raise DatabaseError(f"Cannot connect to {tenant}.", hint="Run: python manage.py check_rds") from error


def constraint_name(error: IntegrityError) -> str:
    """Return the name of the violated constraint."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or "a constraint"
