"""``manage.py load_sample_data``: fills a shop to look at (Step 9 of the guide)."""

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

#: SQLSTATE of a table that is not there.
UNDEFINED_TABLE = "42P01"


class Command(DeployCommand):
    """Makes the sample data that is missing; a second run changes nothing."""

    help = "Loads a sample catalogue with members, carts and orders. A second run changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--flush", action="store_true", help="Remove the sample data first (nothing else).")
        parser.add_argument("--force", action="store_true", help="With --flush, also under production settings.")

    def handle(self, *args: Any, flush: bool, force: bool, **options: Any) -> None:
        """Runs the command; one transaction, one sentence."""
        if flush and settings.PRODUCTION and not force:
            raise Refused(
                "--flush removes the sample data, and these are the production settings: nothing was changed.",
                hint="If this shop may lose it: python manage.py load_sample_data --flush --force",
            )
        tenant = connection.settings_dict["NAME"]
        self.stdout.write(f"{tenant}: {loaded(str(tenant), flush=flush)}")


def loaded(tenant: str, *, flush: bool) -> Loaded:
    """What `load` did.

    Raises:
        Refused: something real is in the way.
        DeployError: the database is not there, or not migrated.
    """
    try:
        return load(timezone.now(), flush_first=flush)
    except SampleDataInUse as error:
        raise Refused(
            f"The sample data is in use ({error}): nothing was changed.",
            hint="Delete these first, or do without --flush.",
        ) from error
    except IntegrityError as error:
        raise Refused(
            f"A row of {tenant} that is no sample is in the way ({in_the_way(error)}): nothing was changed.",
            hint="Sample data is for a new shop; to have it here, change that row in the admin first.",
        ) from error
    except ObjectDoesNotExist as error:
        raise ConfigurationError(
            f"A row that migrate makes is missing in {tenant}: nothing was changed. {error}",
            hint="Add it in the admin, with the identifier that order/migrations/0002_reference_rows.py gives it.",
        ) from error
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", None) != UNDEFINED_TABLE:
            raise
        raise ConfigurationError(
            f"{tenant} does not have the shop's tables.", hint="Run: python manage.py migrate"
        ) from error
    except OperationalError as error:
        raise DatabaseError(f"{tenant} cannot be reached.", hint="Run: python manage.py check_rds") from error


def in_the_way(error: IntegrityError) -> str:
    """The name of the constraint that refused, which says the table and the column."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or "a constraint"
