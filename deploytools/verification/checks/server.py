"""Checks of the server as a whole: the role, the connections that it takes, what was left behind."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.databases.catalogue import ConnectionSlots, ServerCatalogue
from deploytools.databases.probe import ConnectionReport
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation

#: Of the slots that are free to use, more than this in use now is too near the end.
FULL = 0.8


@check(
    "databases.role-harmless",
    title="The application's roles may do nothing but their work",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: least privilege",
    hint="As whoever gave it: ALTER ROLE … NOSUPERUSER NOCREATEDB NOCREATEROLE; REVOKE … FROM …",
)
def role_harmless(catalogue: ServerCatalogue) -> Iterable[Verdict]:
    """What the application may do, an attacker in it may do: with CREATEROLE or rds_superuser, everything."""
    for role in catalogue.roles:
        yield from [failed(f"has {power}", f"{role.name} {power}") for power in role.powers]
        if not role.powers:
            yield passed("has LOGIN only", role.name)


@check(
    "databases.no-test-databases",
    title="No test run left a database on the server",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 10",
    hint="Look at them, drop them, and run tests with scripts/test",
)
def no_test_databases(catalogue: ServerCatalogue) -> Iterable[Verdict]:
    """Step 10 as written makes test_* databases on the production instance, and an interrupted run leaves them."""
    found = [warned("it is there", name) for name in catalogue.test_databases]
    return found or [passed("no database is named test_*")]


@check(
    "databases.server-verified",
    title="The connection is encrypted and the server's name is verified",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Download AWS's CA bundle and set DB_SSLROOTCERT=/path/to/global-bundle.pem: sslmode becomes verify-full",
)
def server_verified(connection: ConnectionReport, expectation: Expectation) -> Verdict:
    """``require`` encrypts and authenticates nobody: whoever sits between reads everything."""
    if not connection.tls:
        return failed("the connection is not encrypted")
    if expectation.sslmode != "verify-full":
        return failed(f"sslmode is {expectation.sslmode}: whoever answers is believed")
    if "postgresql" in expectation.engine and expectation.django_sslmode != "verify-full":
        return failed(
            f"sslmode of Django's own connections is {expectation.django_sslmode or 'not set'}",
            hint="Set DATABASES['default']['OPTIONS']['sslmode'] to verify-full, with sslrootcert beside it",
        )
    return passed(f"verify-full, {connection.tls}")


@check(
    "databases.connection-budget",
    title="The server takes as many connections as all tenants can ask for",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Next Steps: Phase 10",
    hint="Lower CONN_MAX_AGE or the number of workers, or take a larger instance class",
)
def connection_budget(connection_slots: ConnectionSlots, expectation: Expectation) -> Verdict:
    """Each process keeps a connection to its tenant: with one tenant more, all of them get "too many connections"."""
    if not expectation.processes:
        return not_applicable('nobody says how many processes a tenant has (DEPLOYTOOLS["PROCESSES"])')
    free = connection_slots.maximum - connection_slots.reserved
    wanted = len(expectation.tenants) * expectation.processes
    evidence = (
        f"{len(expectation.tenants)} tenants × {expectation.processes} processes = {wanted} connections of {free} "
        f"({connection_slots.maximum} less {connection_slots.reserved} reserved)"
    )
    return (failed if wanted > free else passed)(evidence)


@check(
    "databases.connections-free",
    title="The server has connections to spare",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Next Steps: Phase 12",
    hint="See whose they are: SELECT usename, datname, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3",
)
def connections_free(connection_slots: ConnectionSlots) -> Verdict:
    """The next deployment starts its new processes before the old ones end."""
    free = connection_slots.maximum - connection_slots.reserved
    used = connection_slots.used
    measured = f"{used} of {free} in use"
    if used > FULL * free:
        return warned(f"more than {FULL:.0%} of {free} are in use", measured=measured)
    return passed(f"at most {FULL:.0%} of {free} are in use", measured=measured)


@check(
    "databases.none-forgotten",
    title="Every database of the application belongs to a tenant that the settings name",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 5",
    hint="Name it in TENANTS, or keep a dump and drop it: nothing here migrates, verifies or watches it",
)
def none_forgotten(catalogue: ServerCatalogue) -> Iterable[Verdict]:
    """A tenant that nobody names gets no migration and no check, and keeps its customers' data."""
    owners = ", ".join(role.name for role in catalogue.roles)
    found = [warned("it is not in TENANTS", name) for name in catalogue.unnamed]
    return found or [passed(f"{owners} owns no other database")]
