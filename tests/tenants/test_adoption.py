"""Adoption of a database that an application uses, on real servers."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import psycopg
import pytest
from psycopg import sql

from deploytools.errors import ConnectionFailed, DeployError
from deploytools.postgres.connections import Login, locked_session, session
from deploytools.tenants.database_operations import ClearReassignMarker, ReassignObjects, SetTenantComment
from deploytools.tenants.operations import GrantPreviousOwner, Operation
from deploytools.tenants.state import TENANT_COMMENT, former_owner_marker
from tests.fleet.world import wait_until
from tests.management.runner import run
from tests.tenants.sites import PASSWORD, Listener, Site, errors, make_separate_site

TEXT = "Billing of the „old“ shop: it's 100 % theirs."


def own(site: Site, database: str) -> Login:
    """Create a database of another role with a table and a comment; the master user is a member of the role."""
    old = site.postgres.make_role(f"{site.app.user}_old", PASSWORD)
    with site.postgres.admin() as admin:
        names = {name: sql.Identifier(value) for name, value in (
            ("database", database), ("old", old.user), ("master", site.master.user)
        )}  # fmt: skip
        admin.execute(sql.SQL("CREATE DATABASE {database} OWNER {old}").format(**names))
        admin.execute(sql.SQL("COMMENT ON DATABASE {database} IS {text}").format(**names, text=sql.Literal(TEXT)))
        admin.execute(sql.SQL("GRANT {old} TO {master}").format(**names))
    with old.connect(database) as application:
        application.execute("CREATE TABLE stock (id bigserial PRIMARY KEY, text text); CREATE TABLE other (id integer)")
    return old


@dataclass
class Traffic:
    """What an application does all the time, in new and in kept connections."""

    login: Login
    database: str
    rounds: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def work(self, stop: threading.Event) -> None:
        kept = self.login.connect(self.database)
        while not stop.is_set():
            try:
                kept.execute("INSERT INTO stock (text) VALUES ('x'); UPDATE stock SET text = 'y' WHERE id = 1")
                kept.execute(f"CREATE TABLE made_{self.rounds} (id serial); DROP TABLE made_{self.rounds}".encode())
                with self.login.connect(self.database) as new:
                    new.execute("SELECT count(*) FROM stock, other")
                    new.execute(f"CREATE TABLE kept_{self.rounds} (id serial)".encode())
            except (psycopg.Error, DeployError) as error:
                self.errors[str(error)] += 1
            self.rounds += 1
        kept.close()


@contextmanager
def traffic(login: Login, database: str) -> Iterator[Traffic]:
    running, stop = Traffic(login, database), threading.Event()
    thread = threading.Thread(target=running.work, args=[stop])
    thread.start()
    try:
        wait_until(lambda: running.rounds > 5)
        yield running
    finally:
        stop.set()
        thread.join()


def comment(site: Site, database: str) -> str:
    ((_, _, _, _, text, _),) = site.postgres.snapshot([database])
    return str(text)


@pytest.mark.slow
def test_running_application_keeps_access_until_finish(site):
    one, role = site.names[0], site.app.user
    old = own(site, one)
    with traffic(old, one) as application:
        first, _ = site.plan(adopt=True).tenants
        assert GrantPreviousOwner(role, old.user) in first.steps
        assert errors(site.run(adopt=True)) == [None, None]
        before = application.rounds
        wait_until(lambda: application.rounds > before + 5)
        assert errors(site.run()) == [None, None]
        refused, other = errors(site.run(finish=True))
        assert other is None
        assert re.fullmatch(rf"{old.user} still uses {one} \([12] sessions?\); its access was kept\.", refused or "")
    assert application.errors == Counter()
    assert errors(site.run(finish=True)) == [None, None]
    assert site.plan().is_empty
    assert site.plan(finish=True).is_empty
    assert comment(site, one) == f"{TENANT_COMMENT}. {TEXT}"
    with pytest.raises(ConnectionFailed):
        old.connect(one)
    with site.app.connect(one) as new:
        new.execute("INSERT INTO stock (text) VALUES ('z'); DROP TABLE other")


@pytest.mark.slow
def test_plan_names_sessions_losses_and_the_comment(capsys, deployment):
    postgres, (one, two), role = deployment.postgres, deployment.tenants, deployment.role
    site = Site(postgres, postgres.master, replace(postgres.master, user=role), None)  # type: ignore[arg-type]
    old = own(site, one)
    reader = postgres.make_role(f"{role}_reader", PASSWORD)
    with old.connect(one) as application, reader.connect(one) as report, reader.connect(one):
        application.execute("SET application_name = 'gunicorn'")
        report.execute("SET application_name = ''")
        refused = run(capsys, "create_tenant_dbs", "--plan")
        planned = run(capsys, "create_tenant_dbs", "--plan", "--adopt")
    connected = (
        f"  · Connected to {one}: {old.user} (gunicorn, 1 session), {reader.user} (no application_name, 1 session), "
        f"{reader.user} (deploytools, 1 session)"
    )
    notes = [
        connected,
        f"  · --adopt: {old.user} loses the ownership of {one} and of its objects in it. It keeps access as a member "
        f"of {role} until --finish, with access to all databases of {role}",
        f"  · --adopt: {reader.user} and all other roles with CONNECT on {one} only through PUBLIC cannot open new "
        "sessions",
    ]
    for result in (refused, planned):
        assert [line for line in result.out.splitlines() if line.startswith("  · ")] == notes
    assert f"  - grant membership in {role} to {old.user} until --finish (running processes keep access)" in planned.out
    assert f"  - set comment on {one} (managed by deploytools); its text is kept: {TEXT}" in planned.out

    adopted = run(capsys, "create_tenant_dbs", "--adopt", "--noinput")
    assert adopted.code == 0
    notes = [line for line in adopted.out.splitlines() if line.startswith("· ")]
    assert [note for note in notes if old.user in note] == [
        f"· {old.user} can still connect to {one}. Restart the processes that run as {old.user}, then run: "
        "python manage.py create_tenant_dbs --finish",
        f"· Other roles that can connect to {two}: {old.user}",
    ]
    after = run(capsys, "create_tenant_dbs", "--plan")
    assert f"  · {old.user} can still connect to {one}. Restart the processes that run as {old.user}" in after.out
    assert run(capsys, "create_tenant_dbs", "--finish", "--noinput").code == 0
    assert run(capsys, "create_tenant_dbs", "--check", "--finish").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("survived", range(12))
def test_next_run_continues_an_adoption_after_a_kill_at_any_step(one_site, survived):
    """With a separate master: all its sessions are terminated, and other tests use the other role."""
    master = one_site.postgres.make_role(f"{one_site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    site, one = replace(one_site, master=master), one_site.names[0]
    old = own(site, one)
    left = [survived]

    def kill(step: Operation) -> None:
        left[0] -= 1
        if left[0] < 0:
            site.postgres.terminate(master.user)

    with suppress(DeployError):  # A step of the shared role failed.
        site.run(kill, adopt=True)
    old.connect(one).close()
    assert errors(site.run(adopt=True)) == [None, None]
    assert comment(site, one) == f"{TENANT_COMMENT}{former_owner_marker(old.user)}. {TEXT}"
    with old.connect(one) as application:
        application.execute("INSERT INTO stock (text) VALUES ('x')")
    assert errors(site.run(finish=True)) == [None, None]
    with pytest.raises(ConnectionFailed):
        old.connect(one)


@pytest.mark.slow
def test_former_owner_in_a_forged_comment_gains_and_loses_nothing(one_site):
    """The owner of a database can write its comment."""
    site, one = one_site, one_site.names[0]
    site.run()
    other = site.postgres.make_role(f"{site.app.user}_other", PASSWORD)
    forged = SetTenantComment(one, site.app.user, ("postgres", other.user), "x")
    with site.app.connect(one) as application:
        application.execute(forged.sql())
    assert errors(site.run(finish=True)) == [None, None]
    assert "formerly" not in comment(site, one)
    with session(site.master) as master:
        master.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(site.app.user)))
    with pytest.raises(ConnectionFailed):
        other.connect(one)


@pytest.mark.slow
@pytest.mark.parametrize("is_adopted", [True, False])
def test_tables_created_during_the_move_are_transferred_by_the_next_run(one_postgres, is_adopted):
    """Processes that were not restarted work as the previous owner, which creates the tables."""
    for site in make_separate_site(one_postgres):
        one, role = site.names[0], site.names[0]
        if is_adopted:
            previous = own(Site(one_postgres, one_postgres.master, site.app, site.desired), one)
        else:
            assert site.run(is_shared=True) == [None, None]
            previous = site.app

        def create(step: Operation, previous: Login = previous, one: str = one) -> None:
            if isinstance(step, ReassignObjects | SetTenantComment | ClearReassignMarker) and step.database == one:
                with previous.connect(one) as application:
                    application.execute("CREATE TABLE IF NOT EXISTS late (id integer)")

        with previous.connect(one) as application:
            application.execute("CREATE TABLE early (id integer)")
        with locked_session(one_postgres.master, wait=30) as connection:
            provisioner = site.provisioner(connection, adopt=is_adopted)
            results = provisioner.apply(provisioner.plan(), Listener(create))
        assert errors(results) == [None, None]
        note = f"{previous.user} has created 1 object in {one} since the transfer; the next run transfers it to {role}"
        assert results[0].notes == (note,)
        verified = site.verify()
        assert (errors(verified), verified[0].notes) == ([None, None], (note,))
        assert site.run() == [None, None]
        assert site.plan().is_empty
        assert site.run(finish=True) == [None, None]
