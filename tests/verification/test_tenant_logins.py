"""The logins to all tenants' databases: one that hangs or breaks takes no other with it."""

from __future__ import annotations

import threading

from deploytools.verification.findings import Status
from deploytools.verification.sources.databases import CONCURRENT_LOGINS, TenantReport, logins_seconds, look_at_all
from tests.verification.world import FIRST, REGISTRY, findings

DONE = frozenset({FIRST})


def test_a_tenant_that_hangs_is_its_own_unknown():
    free = threading.Event()

    def look(name: str) -> TenantReport:
        if name == "stuck":
            free.wait()
        return TenantReport(name, DONE)

    found = look_at_all(("stuck", "one", "two"), look, 0.5)
    threads = [thread for thread in threading.enumerate() if thread.name == "tenant-login"]
    free.set()
    assert threads, "it hangs still"
    assert all(thread.daemon for thread in threads)
    assert [(report.name, report.applied, str(report.error or "")) for report in found] == [
        ("stuck", frozenset(), "The login to stuck had no answer in 0.5 s."),
        ("one", DONE, ""),
        ("two", DONE, ""),
    ]
    said = {(f.check, f.resource): f.status for f in findings(tenant_logins=found) if f.resource in {"stuck", "one"}}
    assert said["databases.login", "stuck"] is said["databases.migrated", "stuck"] is Status.UNKNOWN
    assert said["databases.login", "one"] is said["databases.migrated", "one"] is Status.PASS


def test_the_more_tenants_the_longer_it_may_take(settings):
    assert [logins_seconds(tenants) for tenants in (1, CONCURRENT_LOGINS, CONCURRENT_LOGINS + 1, 300)] == [
        25, 25, 30, 210,
    ]  # fmt: skip
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"TENANTS": [f"tenant_{number}" for number in range(300)]}
    assert REGISTRY.sources["tenant_logins"].seconds == 220


def test_a_tenant_that_breaks_is_its_own_unknown_and_tells_no_text_of_the_exception():
    def look(name: str) -> TenantReport:
        if name == "broken":
            raise RuntimeError("canary")
        return TenantReport(name, DONE)

    broken, one = look_at_all(("broken", "one"), look, 30)
    assert (str(broken.error), one.error) == ("The login to broken raised RuntimeError.", None)


def test_every_tenant_is_looked_at_once_in_order():
    seen: list[str] = []

    def look(name: str) -> TenantReport:
        seen.append(name)
        return TenantReport(name)

    names = tuple(f"tenant_{number}" for number in range(3 * CONCURRENT_LOGINS))
    assert tuple(report.name for report in look_at_all(names, look, 30)) == names
    assert sorted(seen) == sorted(names)
    assert look_at_all((), look, 30) == ()
