"""`rotate_credentials`: change a credential while the application serves requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import CommandParser

from deploytools import aws
from deploytools.conf import Settings, read_settings
from deploytools.errors import ConfigurationError, DatabaseError, Refused
from deploytools.management.base import FINDINGS, DeployCommand, raise_unless_ok
from deploytools.management.rotation_options import add_rotation_options, mode_of
from deploytools.postgres.connections import Connection, locked_session, session
from deploytools.postgres.server_identity import read_identity, require_expected_server
from deploytools.reports import rotation_text
from deploytools.rotation.key_rotator import KeyRotator
from deploytools.rotation.managed_master import ManagedMaster, require_changeable
from deploytools.rotation.rotation_plan import (
    Steps,
    plan_abort,
    plan_back,
    plan_finish,
    plan_master_rotation,
    plan_rotation,
)
from deploytools.rotation.rotation_state import MASTER, MASTER_COMMAND, PASSWORD, master_credential
from deploytools.rotation.rotation_store import RotationStore
from deploytools.rotation.rotator import Rotator
from deploytools.secrets.contract import DJANGO_KEY, instance_identifier
from deploytools.secrets.iam_policy import rotation_policy
from deploytools.secrets.store import SecretStore
from deploytools.tenants.credentials import (
    application_login,
    login_secret_name,
    owner_role,
    read_secret,
    server_address,
    tenant_login,
)
from deploytools.tenants.master import SHARED_KEYS, Master, find_master
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX, configured_tenants, require_configured

#: Seconds to wait for another run.
LOCK_WAIT = 1

#: Seconds between two reads of the sessions while waiting.
PAUSE = 1.0


class Command(DeployCommand):
    """Read the state, plan, show the plan, apply it."""

    help = (
        "Rotate a credential while the application serves requests. password: two logins of the role that owns the "
        "databases take turns: the former one works until you run --finish, when no process uses it. Running "
        "processes need the database backend deploytools.backend, or a restart before --finish. django_secret_key: "
        "three phases, one for each run, with a restart of all processes after each. master_password: the password of "
        "the master user, in the secret that RDS manages or in yours."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_rotation_options(parser)
        self.add_tenant_option(parser)
        self.add_change_options(parser, with_check=False)
        self.add_report_options(parser)
        self.add_wait_for_lock_option(parser, default=LOCK_WAIT)
        self.add_master_options(parser)

    def handle(self, *, credential: str, **options: Any) -> None:
        mode = mode_of(credential, options)
        self._settings, self._options = read_settings(), options
        if mode == "iam_policy":
            document = json.dumps(self._policy(rotates_master=credential == MASTER), indent=2)
            for _, path in self.destinations:
                self.report(document, path)
            return
        tenant, tenants = "", list[str]()
        if credential == PASSWORD.name or (credential == DJANGO_KEY and not self._settings.is_shared):
            tenants = [configured.name for configured in configured_tenants(self._settings)]
        if credential == PASSWORD.name:
            tenant = _tenant(options["tenant"], tenants, self._settings)
        self._secret = read_secret(self._settings)
        self._is_read_only = options["plan"] or mode == "status"
        master = self._find_master(in_secret=credential == MASTER)
        if master.instance and credential == MASTER:
            self._rotate_managed(mode, master)
            return
        if credential == MASTER:
            require_changeable(master, owner_role(self._settings, self._secret))
        with self._connection(master) as connection:
            if credential == DJANGO_KEY:
                self._rotate_key(connection, tenants)
            elif credential == MASTER:
                self._apply(self._master_rotator(connection, master), mode)
            else:
                self._apply(self._rotator(connection, tenant, tenants), mode)
        if credential == MASTER and not mode:
            self._offer_management(master)

    def _rotator(self, connection: Connection, tenant: str, tenants: Sequence[str]) -> Rotator:
        settings, secret = self._settings, self._secret
        return Rotator(
            connection,
            RotationStore.connect(login_secret_name(settings, tenant), settings.region),
            tenant_login(settings, secret, tenant),
            tenant or owner_role(settings, secret),
            [tenant] if tenant else tenants,
            tenant,
            one_login=self._options["one_login"],
            goes_back=self._options["back"],
            on_step=self._show_step,
        )

    def _master_rotator(self, connection: Connection, master: Master) -> Rotator:
        store = RotationStore.connect(master.secret, self._settings.region)
        store = replace(store, credential=master_credential(master.keys))
        return Rotator(connection, store, master.login, master.login.user, (), one_login=True, on_step=self._show_step)

    def _offer_management(self, master: Master) -> None:
        instance = self._settings.rds_instance or instance_identifier(self._secret)
        if instance and master.keys == SHARED_KEYS:
            self.text_stream.write(rotation_text.to_offer(instance))

    def _rotate_managed(self, mode: str, master: Master) -> None:
        managed = ManagedMaster(master.instance, master.login.user, self._settings.region)
        if mode == "abort":
            raise Refused(
                "A rotation by RDS cannot be canceled: RDS completes each one that it has begun.",
                hint=f"Show it: {MASTER_COMMAND} --status",
            )
        state, steps = managed.read(), None if mode else managed.steps()
        if steps:
            self.text_stream.write(rotation_text.to_plan_text(steps))
        if steps and not self._options["plan"]:
            with self._connection(master):
                self.confirm("Apply this plan?", interactive=self._options["interactive"])
                self.after_interrupt = "RDS completes a rotation that it has begun."
                with aws.sharing_clients():
                    state = managed.rotate(lambda text: self.stderr.write(f"  {text}"))
                with session(self._find_master(in_secret=True).login):
                    self._show_step(steps[-1])
        self._write_reports(
            lambda: rotation_text.to_managed_json(managed, state, steps),
            lambda: rotation_text.to_managed_text(managed, state),
            text=not self._options["plan"],
        )

    def _rotate_key(self, connection: Connection, tenants: Sequence[str]) -> None:
        settings, secret = self._settings, read_secret(self._settings)  # Another run can have held the lock.
        owners = [owner_role(settings, secret), *tenants]
        current = application_login(settings, secret).user
        rotator = KeyRotator(
            connection,
            SecretStore.connect(settings.secret_name, settings.region),
            sorted({current, *(name + suffix for name in owners for suffix in ("", SECOND_LOGIN_SUFFIX))}),
            timedelta(seconds=max(django_settings.SESSION_COOKIE_AGE, django_settings.PASSWORD_RESET_TIMEOUT)),
        )
        is_plan = self._options["plan"]
        phase, plan = rotator.plan(is_leaked=self._options["leaked"], restarted=self._options["restarted"])
        self.text_stream.write(f"  - {phase}")
        if not is_plan:
            self.confirm("Apply this plan?", interactive=self._options["interactive"])
            rotator.apply(plan)
        self._write_reports(
            lambda: rotation_text.to_phase_json(phase, is_applied=not is_plan), lambda: phase.after, text=not is_plan
        )

    def _apply(self, rotator: Rotator, mode: str) -> None:
        if mode == "status":
            self._report(rotator, None)
            return
        steps = self._plan(rotator, mode)
        if rotator.one_login and not mode:
            self.text_stream.write(rotation_text.to_recovery_text(rotator.read()))
        self.text_stream.write(rotation_text.to_plan_text(steps))
        if self._is_read_only or not steps:
            self._report(rotator, steps, text=False)
            return
        self.confirm("Apply this plan?", interactive=self._options["interactive"])
        rotator.run(steps)
        if self._options["wait_for_sessions"]:
            self._wait(rotator)
        self._report(rotator, steps)
        state = rotator.read()
        if mode == "finish" and (left := state.logins[state.other].sessions):
            raise_unless_ok(FINDINGS, f"Sessions of the former login: {len(left)}.")

    def _plan(self, rotator: Rotator, mode: str) -> Steps:
        state, options = rotator.read(), self._options
        if mode == "finish":
            return plan_finish(state, end_sessions=options["end_sessions"], now=options["now"])
        if mode == "abort":
            return plan_abort(state)
        if mode == "back":
            return plan_back(state)
        if state.credential != PASSWORD:
            return plan_master_rotation(state)
        return plan_rotation(state, one_login=options["one_login"], grace=options["grace"] or 0)

    def _wait(self, rotator: Rotator) -> None:
        """Close the former login as soon as no session uses it."""
        deadline = time.monotonic() + self._options["wait_for_sessions"]
        while True:
            try:
                rotator.run(plan_finish(rotator.read(), end_sessions=self._options["end_sessions"]))
                return
            except (Refused, DatabaseError):
                if time.monotonic() >= deadline or rotator.connection.broken:
                    raise
            time.sleep(PAUSE)

    def _report(self, rotator: Rotator, steps: Steps | None, *, text: bool = True) -> None:
        state = rotator.read()
        self._write_reports(
            lambda: rotation_text.to_json(state, steps), lambda: rotation_text.to_status_text(state), text=text
        )

    def _write_reports(self, to_json: Callable[[], str], to_text: Callable[[], str], *, text: bool) -> None:
        """Write the reports; without `text`, the text report goes to files only."""
        for format, path in self.destinations:
            if format == "json" or text or path:
                self.report(to_json() if format == "json" else to_text(), path)

    def _show_step(self, step: Operation | str) -> None:
        for line in rotation_text.step_lines(step, "✓"):
            self.stderr.write(line)

    def _find_master(self, *, in_secret: bool) -> Master:
        return find_master(
            self._settings,
            self._secret,
            username=self._options["master_username"],
            named=self._options["master_secret"],
            interactive=self._options["interactive"],
            in_secret=in_secret,
        )

    @contextmanager
    def _connection(self, master: Master) -> Iterator[Connection]:
        """Connect as the master user to the expected server; hold the lock, unless nothing is to be changed."""
        wait = self._options["wait_for_lock"] or LOCK_WAIT
        opened = session(master.login) if self._is_read_only else locked_session(master.login, wait=wait)
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(opened)
            except DatabaseError as error:
                if error.sqlstate == "55P03":
                    raise Refused(f"{error} Nothing was changed.", hint=error.hint) from None
                raise
            if not self._is_read_only:
                address = server_address(self._settings, self._secret)
                require_expected_server(read_identity(connection), address, None)
            yield connection

    def _policy(self, *, rotates_master: bool) -> dict[str, Any]:
        settings = self._settings
        tenants = () if settings.is_shared or rotates_master else (f"{settings.tenant_secret_prefix}*",)
        master, instance = self._options["master_secret"] or "", settings.rds_instance
        if not (master or instance):
            raise ConfigurationError(
                'DEPLOYTOOLS["RDS_INSTANCE"] is not set: the policy would allow the secrets of all RDS instances.',
                hint="Set it, or add --master-secret with the secret of the master user.",
            )
        names = [settings.secret_name, *tenants]
        return rotation_policy(names, settings.region, master=master, instance=instance, rotates_master=rotates_master)


def _tenant(given: Sequence[str], names: Sequence[str], settings: Settings) -> str:
    """Return the tenant whose login is rotated; empty: the login that all share."""
    if settings.is_shared and given:
        raise ConfigurationError("--tenant requires ISOLATION role-per-tenant.", hint="Remove --tenant.")
    if not settings.is_shared and len(given) != 1:
        raise ConfigurationError(
            "With ISOLATION role-per-tenant, rotate_credentials rotates the login of one tenant.",
            hint=f"Pass --tenant once, for example: --tenant {names[0]}",
        )
    require_configured(given, names)
    return next(iter(given), "")
