"""``manage.py localcloud``: run a local cloud in the foreground."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.management.base import CommandParser

from deploytools.conf import LIBPQ_VARIABLES, read_settings
from deploytools.errors import ConfigurationError
from deploytools.management.base import DeployCommand, raise_unless_ok, unreadable_file
from deploytools.secrets.custom_fields import all_fields
from deploytools.secrets.document import Secret, parse

if TYPE_CHECKING:
    from deploytools.local import CloudState

DESCRIPTION = "Run PostgreSQL with TLS, an AWS emulator and an SMTP server on this machine, until Ctrl-C."


class Command(DeployCommand):
    """Options and output; `deploytools.local` does the rest."""

    help = DESCRIPTION
    after_interrupt = "The local cloud was stopped."
    resume_hint = "Run the command again to start a new one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--secret",
            type=Path,
            metavar="FILE",
            help="JSON file with values of the secret that replace the generated ones.",
        )
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("up", help="Run until Ctrl-C.")
        run = actions.add_parser(
            "run", usage="%(prog)s -- COMMAND …", help="Run until a command ends, and return its exit code."
        )
        run.add_argument("command", nargs="+", metavar="COMMAND", help="The command and its arguments.")

    def handle(self, *, action: str, secret: Path | None, **options: Any) -> None:
        try:
            from deploytools.local import CloudNames, local_cloud
            from deploytools.local.cloud_environment import as_shell, merged, variables
            from deploytools.local.processes import run_command
        except ImportError as error:
            raise ConfigurationError(
                f"The package {error.name} is not installed.", hint='Run: pip install "django-deploytools[local]"'
            ) from error
        settings = read_settings()
        _require_no_other_address(getattr(django_settings, "DEPLOYTOOLS", {}), os.environ)
        values = _read_values(secret) if secret else {}
        names = CloudNames(
            settings.secret_name,
            settings.region,
            instance=settings.rds_instance or values.get("dbClusterIdentifier") or CloudNames.instance,
            role=settings.app_role or CloudNames.role,
            app_group=_name(settings.app_security_groups, CloudNames.app_group),
            bastion_group=_name(settings.bastion_security_groups, CloudNames.bastion_group),
        )
        fields = all_fields(settings.presets, settings.secret_fields)
        started = time.monotonic()
        with local_cloud(names, fields=fields, secret=values) as state:
            file = Path(state.directory, "environment")
            environment = variables(state) | {"LOCALCLOUD_ENVIRONMENT": str(file)}
            file.touch(mode=0o600)
            file.write_text(as_shell(environment, os.environ), encoding="utf-8")
            if action == "run":
                code = run_command(options["command"], merged(environment, os.environ))
                raise_unless_ok(code, f"{options['command'][0]} ended with exit code {code}.")
                return
            with suppress(KeyboardInterrupt):
                self._show(state, file, time.monotonic() - started)
                threading.Event().wait()

    def _show(self, state: CloudState, environment: Path, seconds: float) -> None:
        parts = {
            f"PostgreSQL {state.main.version}": f"{state.main.hostaddr}:{state.main.port}",
            f"AWS (moto {version('moto')})": state.aws_endpoint_url,
            "SMTP": f"{state.smtp.host}:{state.smtp.port}, messages in {state.smtp.messages_dir}",
        }
        self.stdout.writelines(f"{name:<18} {address}\n" for name, address in parts.items())
        self.stdout.write(f"Started in {seconds:.1f} s. To use it in another shell, run:\n")
        self.stdout.write(f"    . {environment}\n")
        self.stdout.write("Quit with Ctrl-C.")
        self.stdout.flush()


def _require_no_other_address(given: Mapping[str, object], environment: Mapping[str, str]) -> None:
    """Refuse an address in the settings: it takes precedence over the variables of the local cloud."""
    for key, name in LIBPQ_VARIABLES.items():
        if (value := str(given.get(key) or "")) and value != environment.get(name):
            raise ConfigurationError(
                f'DEPLOYTOOLS["{key}"] is set: commands would connect to that server, not to the local cloud.',
                hint=f"Remove it from the settings, and set the environment variable {name} instead.",
            )


def _name(groups: Sequence[str], default: str) -> str:
    """Return the first name of `groups`; AWS chooses the IDs."""
    return next((group for group in groups if not group.startswith("sg-")), default)


def _read_values(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_file(file, error, "Pass a JSON file with values of the secret as --secret.") from None
    return {key: value.reveal() for key, value in parse(Secret(text), source=str(file)).items()}
