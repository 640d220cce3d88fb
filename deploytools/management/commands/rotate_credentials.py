"""`rotate_credentials`: change a credential while the application serves requests."""

from __future__ import annotations

import json
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import CommandParser

from deploytools import aws
from deploytools.conf import Settings, read_settings
from deploytools.errors import ConfigurationError, DatabaseError, Refused
from deploytools.management.base import (
    FINDINGS,
    FINISH_HELP,
    IAM_POLICY_HELP,
    LEAKED_HELP,
    DeployCommand,
    raise_unless_ok,
)
from deploytools.management.modes import flag
from deploytools.postgres.connections import Connection, locked_session, session
from deploytools.postgres.server_identity import read_identity, require_expected_server
from deploytools.reports import rotation_text
from deploytools.rotation.key_rotator import KeyRotator
from deploytools.rotation.managed_master import ManagedMaster
from deploytools.rotation.rotation_plan import plan_abort, plan_back, plan_finish, plan_master_rotation, plan_rotation
from deploytools.rotation.rotation_state import COMMAND, MASTER, MASTER_COMMAND, PASSWORD, master_credential
from deploytools.rotation.rotation_store import RotationStore
from deploytools.rotation.rotator import Rotator
from deploytools.secrets.contract import DJANGO_KEY, instance_identifier
from deploytools.secrets.document import Document
from deploytools.secrets.iam_policy import rotation_policy
from deploytools.secrets.store import SecretStore
from deploytools.secrets.versions import parse_age
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

Options = dict[str, Any]

#: Modes other than a rotation.
MODES = ("finish", "abort", "back", "status", "iam_policy")

#: Options and the modes that they apply to; "": a rotation.
CHANGES = ("", "finish", "abort", "back")
APPLIES = {
    "tenant": (*CHANGES, "status"),
    "master_username": (*CHANGES, "status"),
    "one_login": ("", "abort", "status"),
    "grace": ("",),
    "wait_for_sessions": ("",),
    "end_sessions": ("", "finish"),
    "now": ("finish",),
    "plan": CHANGES,
}

KEY_OPTIONS = ("leaked", "restarted")
OPTIONS_OF = {
    PASSWORD.name: {*MODES, *APPLIES},
    DJANGO_KEY: {"plan", "iam_policy", "master_username", *KEY_OPTIONS},
    MASTER: {"plan", "abort", "status", "iam_policy", "master_username"},
}

#: Seconds to wait for another run.
LOCK_WAIT = 1

#: Seconds between two reads of the sessions while waiting.
PAUSE = 1.0


def duration(text: str) -> int:
    """Parse a duration, for example ``30m`` or ``24h``, to seconds."""
    age = parse_age(text)
    if not age:
        raise ArgumentTypeError(f"{text!r} is not a duration, for example 30m, 24h or 7d")
    return int(age.total_seconds())


class Command(DeployCommand):
    """Read the state, plan, show the plan, apply it."""

    help = (
        "Rotate a credential while the application serves requests. password: two logins of the role that owns the "
        "databases take turns, so that the former one works until no process uses it: then run --finish. Running "
        "processes need the database backend deploytools.backend, or a restart before --finish. django_secret_key: "
        "three phases, one a run, with a restart of all processes after each. master_password: the password of the "
        "master user, in the secret that RDS manages or in yours."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("credential", choices=list(OPTIONS_OF), help="What to rotate.")
        for option, text in (
            ("--finish", FINISH_HELP),
            ("--abort", "Cancel a rotation before its switch."),
            ("--back", "Make the former login current again, while it is open."),
            ("--status", "Show where the rotation stands and who uses each login; change nothing."),
            ("--iam-policy", IAM_POLICY_HELP),
            ("--one-login", "Change the password of the login in use. New connections fail until processes read it."),
            (
                "--end-sessions",
                "With --finish or --wait-for-sessions: end sessions of the former login that are idle for 10 s.",
            ),
            ("--leaked", LEAKED_HELP),
            ("--restarted", "All processes were restarted since the last phase of django_secret_key: do not check it."),
            ("--now", "With --finish: close the former login and end all its sessions, for example after a leak."),
        ):
            parser.add_argument(option, action="store_true", help=text)
        parser.add_argument(
            "--wait-for-sessions",
            type=duration,
            metavar="TIME",
            help="After the switch, wait so long and close the former login.",
        )
        parser.add_argument(
            "--grace", type=duration, metavar="TIME", help="Let PostgreSQL refuse the former login after this time."
        )
        self.add_tenant_option(parser)
        self.add_change_options(parser, with_check=False)
        self.add_report_options(parser)
        self.add_wait_for_lock_option(parser, default=LOCK_WAIT)
        self.add_master_options(parser)

    def handle(self, **options: Any) -> None:
        """Run in one session that holds the lock, unless nothing is to be changed."""
        mode = _mode(options)
        if mode == "iam_policy":
            document = json.dumps(_policy(read_settings(), options), indent=2)
            for _, path in self.destinations:
                self.report(document, path)
        elif options["credential"] == DJANGO_KEY:
            self._rotate_key(options)
        elif options["credential"] == MASTER:
            self._rotate_master(mode, options)
        else:
            self._rotate_password(mode, options)

    def _rotate_password(self, mode: str, options: Options) -> None:
        with self._rotator(options, read_only=options["plan"] or mode == "status") as rotator:
            self._apply(rotator, mode, options)

    def _rotate_master(self, mode: str, options: Options) -> None:
        settings = read_settings()
        secret = read_secret(settings)
        master = _find_master(options, settings, secret, in_secret=True)
        if master.instance:
            self._rotate_managed(mode, options, settings, secret, master)
            return
        _require_changeable(master, owner_role(settings, secret))
        user, store = master.login.user, RotationStore.connect(master.secret, settings.region)
        store = replace(store, credential=master_credential(master.keys))
        is_read_only = options["plan"] or mode == "status"
        with self._connection(options, settings, secret, master, read_only=is_read_only) as connection:
            rotator = Rotator(connection, store, master.login, user, (), one_login=True, on_step=self._show_step)
            self._apply(rotator, mode, options)
        instance = settings.rds_instance or instance_identifier(secret)
        if instance and not mode and master.keys == SHARED_KEYS:
            self.text_stream.write(rotation_text.to_offer(instance))

    def _rotate_managed(
        self, mode: str, options: Options, settings: Settings, secret: Document, master: Master
    ) -> None:
        """Let RDS rotate the secret that it manages."""
        managed = ManagedMaster(master.instance, master.login.user, settings.region)
        if mode == "abort":
            raise Refused(
                "A rotation by RDS cannot be canceled: RDS completes each one that it has begun.",
                hint=f"Show it: {MASTER_COMMAND} --status",
            )
        state, steps = managed.read(), None if mode else managed.steps()
        if steps:
            self.text_stream.write(rotation_text.to_plan_text(steps))
        if steps and not options["plan"]:
            with self._connection(options, settings, secret, master, read_only=False):
                self.confirm("Apply this plan?", interactive=options["interactive"])
                self.after_interrupt = "RDS completes a rotation that it has begun."
                with aws.sharing_clients():
                    state = managed.rotate(lambda text: self.stderr.write(f"  {text}"))
                master = _find_master(options, settings, secret, in_secret=True)
                with session(master.login):
                    self._show_step(steps[-1])
        for format, path in self.destinations:
            if format == "json":
                self.report(rotation_text.to_managed_json(managed, state, steps), path)
            elif path or not options["plan"]:
                self.report(rotation_text.to_managed_text(managed, state), path)

    def _rotate_key(self, options: Options) -> None:
        settings = read_settings()
        secret = read_secret(settings)
        master = _find_master(options, settings, secret)
        with self._connection(options, settings, secret, master, read_only=options["plan"]) as connection:
            secret = read_secret(settings)
            tenants = () if settings.is_shared else configured_tenants(settings)
            owners = [owner_role(settings, secret), *(tenant.name for tenant in tenants)]
            current = application_login(settings, secret).user
            rotator = KeyRotator(
                connection,
                SecretStore.connect(settings.secret_name, settings.region),
                sorted({current, *(name + suffix for name in owners for suffix in ("", SECOND_LOGIN_SUFFIX))}),
                timedelta(seconds=max(django_settings.SESSION_COOKIE_AGE, django_settings.PASSWORD_RESET_TIMEOUT)),
            )
            phase, plan = rotator.plan(is_leaked=options["leaked"], restarted=options["restarted"])
            self.text_stream.write(rotation_text.to_phase_text(phase))
            if not options["plan"]:
                self.confirm("Apply this plan?", interactive=options["interactive"])
                rotator.apply(plan)
            for format, path in self.destinations:
                if format == "json":
                    self.report(rotation_text.to_phase_json(phase, is_applied=not options["plan"]), path)
                elif path or not options["plan"]:
                    self.report(phase.after, path)

    def _apply(self, rotator: Rotator, mode: str, options: Options) -> None:
        if mode == "status":
            self._report(rotator, None)
            return
        steps = _plan(rotator, mode, options)
        if rotator.one_login and not mode:
            self.text_stream.write(rotation_text.to_recovery_text(rotator.read()))
        self.text_stream.write(rotation_text.to_plan_text(steps))
        if options["plan"] or not steps:
            self._report(rotator, steps, text=False)
            return
        self.confirm("Apply this plan?", interactive=options["interactive"])
        rotator.run(steps)
        if options["wait_for_sessions"]:
            self._wait(rotator, options)
        self._report(rotator, steps)
        state = rotator.read()
        if mode == "finish" and (left := state.logins[state.other].sessions):
            raise_unless_ok(FINDINGS, f"Sessions of the former login: {len(left)}.")

    def _wait(self, rotator: Rotator, options: Options) -> None:
        """Close the former login as soon as no session uses it.

        Raises:
            Refused: sessions still use it after the time to wait.
        """
        deadline = time.monotonic() + options["wait_for_sessions"]
        while True:
            try:
                rotator.run(plan_finish(rotator.read(), end_sessions=options["end_sessions"]))
                return
            except (Refused, DatabaseError):
                if time.monotonic() >= deadline or rotator.connection.broken:
                    raise
            time.sleep(PAUSE)

    def _report(self, rotator: Rotator, steps: tuple[Operation, ...] | None, *, text: bool = True) -> None:
        state = rotator.read()
        for format, path in self.destinations:
            if format == "json":
                self.report(rotation_text.to_json(state, steps), path)
            elif text or path:
                self.report(rotation_text.to_status_text(state), path)

    @contextmanager
    def _rotator(self, options: Options, *, read_only: bool) -> Iterator[Rotator]:
        """Return the rotation of the password in one session."""
        settings = read_settings()
        names = [configured.name for configured in configured_tenants(settings)]
        tenant, secret = _tenant(options["tenant"], names, settings), read_secret(settings)
        master = _find_master(options, settings, secret)
        with self._connection(options, settings, secret, master, read_only=read_only) as connection:
            yield Rotator(
                connection,
                RotationStore.connect(login_secret_name(settings, tenant), settings.region),
                tenant_login(settings, secret, tenant),
                tenant or owner_role(settings, secret),
                [tenant] if tenant else names,
                tenant,
                one_login=options["one_login"],
                goes_back=options["back"],
                on_step=self._show_step,
            )

    def _show_step(self, step: Operation | str) -> None:
        self.stderr.write(f"  ✓ {step}")

    @contextmanager
    def _connection(
        self, options: Options, settings: Settings, secret: Document, master: Master, *, read_only: bool
    ) -> Iterator[Connection]:
        """Connect as the master user to the expected server; hold the lock, unless nothing is to be changed.

        Raises:
            Refused: another run holds the lock.
        """
        wait = options["wait_for_lock"] or LOCK_WAIT
        opened = session(master.login) if read_only else locked_session(master.login, wait=wait)
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(opened)
            except DatabaseError as error:
                if error.sqlstate == "55P03":
                    raise Refused(f"{error} Nothing was changed.", hint=error.hint) from None
                raise
            if not read_only:
                require_expected_server(read_identity(connection), server_address(settings, secret), None)
            yield connection


def _find_master(options: Options, settings: Settings, secret: Document, *, in_secret: bool = False) -> Master:
    return find_master(
        settings,
        secret,
        username=options["master_username"],
        named=options["master_secret"],
        interactive=options["interactive"],
        in_secret=in_secret,
    )


def _require_changeable(master: Master, owner: str) -> None:
    """Raise an error if the password of the master user is not in a secret that these commands can change."""
    user = master.login.user
    if "rds!cluster" in master.secret:
        raise ConfigurationError(
            f"RDS manages the secret {master.secret} for an Aurora cluster, which rotate_credentials does not support. "
            "Nothing was changed.",
            hint="Let RDS rotate it: aws rds modify-db-cluster --db-cluster-identifier CLUSTER "
            "--rotate-master-user-password --apply-immediately",
        )
    if "rds!" in master.secret:
        raise ConfigurationError(
            f"RDS manages the secret {master.secret}: only RDS can change it. Nothing was changed.",
            hint='Remove --master-secret, and set DEPLOYTOOLS["RDS_INSTANCE"] to its instance.',
        )
    if user in (owner, owner + SECOND_LOGIN_SUFFIX):
        raise ConfigurationError(
            f"{user} is a login of the application, not the master user. Nothing was changed.",
            hint=f"Rotate it with: {COMMAND}",
        )


def _policy(settings: Settings, options: Options) -> dict[str, Any]:
    rotates_master = options["credential"] == MASTER
    tenants = () if settings.is_shared or rotates_master else (f"{settings.tenant_secret_prefix}*",)
    names = [settings.secret_name, *tenants]
    master, instance = options["master_secret"] or "", settings.rds_instance
    if not (master or instance):
        raise ConfigurationError(
            'DEPLOYTOOLS["RDS_INSTANCE"] is not set: the policy would allow the secrets of all RDS instances.',
            hint="Set it, or add --master-secret with the secret of the master user.",
        )
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


def _mode(options: Options) -> str:
    """Return the mode; empty: a rotation.

    Raises:
        ConfigurationError: options that exclude each other, or that do nothing in this mode.
    """
    allowed = OPTIONS_OF[options["credential"]]
    for option in (*MODES, *APPLIES, *KEY_OPTIONS):
        if options[option] and option not in allowed:
            raise ConfigurationError(
                f"{flag(option)} does not apply to {options['credential']}.", hint=f"Remove {flag(option)}."
            )
    modes = [mode for mode in MODES if options[mode]]
    if len(modes) > 1:
        raise ConfigurationError(
            f"{flag(modes[0])} cannot be combined with {flag(modes[1])}.", hint="Remove one of the two options."
        )
    mode = modes[0] if modes else ""
    reads = "--plan" if options["plan"] else flag(mode) if mode in ("status", "iam_policy") else ""
    if reads and options["wait_for_lock"] is not None:
        raise ConfigurationError(
            f"--wait-for-lock cannot be combined with {reads}.",
            hint="Remove --wait-for-lock: only a change waits for the lock.",
        )
    for option, applies in APPLIES.items():
        if options[option] and mode not in applies:
            name = flag(option)
            raise ConfigurationError(
                f"{name} cannot be combined with {flag(mode)}." if mode else f"{name} requires --{applies[0]}.",
                hint=f"Remove {name}.",
            )
    for option in ("grace", "wait_for_sessions"):
        if options["one_login"] and options[option]:
            raise ConfigurationError(
                f"{flag(option)} cannot be combined with --one-login.",
                hint=f"Remove {flag(option)}: there is no former login to close.",
            )
    if options["end_sessions"] and not mode and not options["wait_for_sessions"]:
        raise ConfigurationError(
            "--end-sessions requires --finish or --wait-for-sessions.", hint="Add --wait-for-sessions 30m."
        )
    return mode


def _plan(rotator: Rotator, mode: str, options: Options) -> tuple[Operation, ...]:
    state = rotator.read()
    if not mode and state.credential != PASSWORD:
        return plan_master_rotation(state)
    if mode == "finish":
        return plan_finish(state, end_sessions=options["end_sessions"], now=options["now"])
    if mode == "abort":
        return plan_abort(state)
    if mode == "back":
        return plan_back(state)
    return plan_rotation(state, one_login=options["one_login"], grace=options["grace"] or 0)
