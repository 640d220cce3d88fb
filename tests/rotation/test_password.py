"""`rotate_credentials password` on a real server with an emulated Secrets Manager."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from typing import Any

import pytest

from deploytools.errors import ConnectionFailed
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from tests.conftest import versions
from tests.deployment import Deployment
from tests.fleet.world import wait_until
from tests.management.runner import ROTATE, Result, rotate_credentials, run

LABEL = "deploytools-rotation"


@pytest.fixture
def made(capsys, deployment: Deployment) -> Deployment:
    """The deployment with its databases."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


def rotate(capsys: pytest.CaptureFixture[str], *options: str) -> Result:
    return rotate_credentials(capsys, "password", *options)


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the status of each login."""
    result = rotate(capsys, "--status", "--format", "json")
    assert result.code == 0, result
    return {login["name"]: login["status"] for login in json.loads(result.out)["logins"]}


def login_of(made: Deployment, document: dict[str, Any]) -> Login:
    return Login(made.postgres.address, document["username"], Secret(document["password"]))


def can_log_in(login: Login, database: str) -> bool:
    try:
        login.connect(database).close()
    except ConnectionFailed:
        return False
    return True


def labels(made: Deployment) -> set[str]:
    return {label for found in made.versions().values() for label in found}


@pytest.mark.parametrize("one_postgres", versions({14, 15, 16, 17, 18}), indirect=True)
def test_two_rotations(capsys, made: Deployment):
    """The logins take turns; each former one works until it is closed; all objects belong to the owner."""
    first = made.document()
    owner, second = made.role, f"{made.role}_b"
    with made.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {owner} SET search_path TO \"$user\", public; ALTER ROLE {owner} "
                      f"SET work_mem TO '5MB'; ALTER ROLE {owner} CONNECTION LIMIT 40".encode())  # fmt: skip

    plan = rotate(capsys, "--plan")
    assert (plan.code, made.document(), status(capsys)[second]) == (0, first, "does not exist yet")
    assert [line.split()[1] for line in plan.out.splitlines() if line.startswith("  - ")] == [
        "create", "grant", "copy", "grant", "create", "set", "log", "move", "remove",
    ]  # fmt: skip

    result = rotate(capsys)
    assert result.code == 0, result
    assert result.out.endswith("When every process uses the new login, run: python manage.py rotate_credentials "
                               "password --finish\n")  # fmt: skip
    new = made.document()
    assert (new["username"], new["owner"], new["password"] != first["password"]) == (second, owner, True)
    assert {key: value for key, value in new.items() if key not in ("username", "password", "owner", "rotated_at")} == {
        key: value for key, value in first.items() if key not in ("username", "password")
    }
    assert labels(made) == {"AWSCURRENT", "AWSPREVIOUS"}
    assert all(can_log_in(login_of(made, document), made.tenants[0]) for document in (first, new))
    with login_of(made, new).connect(made.tenants[1]) as session:
        session.execute("CREATE TABLE made_by_the_second_login (id integer)")
        row = session.execute(
            "SELECT tableowner::text, current_setting('search_path') AS path, current_setting('work_mem') AS memory, "
            "(SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user) "
            "FROM pg_tables WHERE tablename = 'made_by_the_second_login'"
        ).fetchone()
    assert row == (owner, '"$user", public', "5MB", 40)
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    assert run(capsys, "create_tenant_dbs", "--verify").code == 0

    assert rotate(capsys, "--finish").code == 0
    assert status(capsys) == {owner: "closed", second: "in AWSCURRENT"}
    assert (can_log_in(login_of(made, first), made.tenants[0]), can_log_in(login_of(made, new), made.tenants[0])) == (
        False, True,
    )  # fmt: skip
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    result = rotate(capsys, "--finish")
    assert (result.code, "No changes" in result.out) == (0, True)

    assert rotate(capsys).code == 0
    third = made.document()
    assert (third["username"], third["owner"]) == (owner, owner)
    assert third["password"] not in (first["password"], new["password"])
    assert rotate(capsys, "--finish").code == 0
    assert [can_log_in(login_of(made, document), made.tenants[0]) for document in (first, new, third)] == [
        False, False, True,
    ]  # fmt: skip
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    assert run(capsys, "create_tenant_dbs", "--verify").code == 0
    shown = made.postgres.log()
    assert not [document for document in (first, new, third) if document["password"] in shown]


@pytest.mark.slow
def test_a_former_login_in_use_is_not_closed(capsys, made: Deployment):
    former = login_of(made, made.document())
    with closing(former.connect(made.tenants[0])) as session:
        session.execute("BEGIN")  # However long the test takes, it is not idle.
        assert rotate(capsys).code == 0
        for options in (("--finish",), ("--finish", "--end-sessions"), ("--wait-for-sessions", "1m", "--plan"), ()):
            result = rotate(capsys, *options)
            assert (result.code, f"The former login {made.role} is in use by deploytools from" in result.err) == (
                1, True,
            ), (options, result)  # fmt: skip
        assert session.execute("SELECT 1").fetchone() == (1,)
        assert status(capsys)[made.role] == "open"
        assert rotate(capsys, "--finish", "--now").code == 0
        assert session.pgconn.socket  # The client does not know yet.
    assert (status(capsys)[made.role], can_log_in(former, made.tenants[0])) == ("closed", False)


@pytest.mark.slow
def test_idle_sessions_are_ended(capsys, made: Deployment, monkeypatch):
    monkeypatch.setattr("deploytools.rotation.rotation_plan.IDLE", 1)
    former = login_of(made, made.document())
    with former.connect(made.tenants[0]) as idle, former.connect(made.tenants[0]) as busy:
        assert rotate(capsys).code == 0
        busy.execute("BEGIN")
        result = rotate(capsys, "--finish", "--end-sessions")
        assert (result.code, result.err.count("connected since")) == (1, 2)
        busy.execute("ROLLBACK")
        assert idle.execute("SELECT 1").fetchone() == (1,)
        wait_until(lambda: not rotate(capsys, "--finish", "--end-sessions").code)
    assert status(capsys)[made.role] == "closed"


@pytest.mark.slow
def test_the_former_login_is_closed_in_the_same_run(capsys, made: Deployment):
    former = login_of(made, made.document())
    session = former.connect(made.tenants[0])
    timer = threading.Timer(3, session.close)
    timer.start()
    result = rotate(capsys, "--wait-for-sessions", "1m")
    timer.join()
    assert (result.code, status(capsys)[made.role]) == (0, "closed"), result


@pytest.mark.slow
def test_grace(capsys, made: Deployment):
    """PostgreSQL's clock decides."""
    former = login_of(made, made.document())
    assert rotate(capsys, "--grace", "24h").code == 0
    with made.postgres.admin() as admin:
        row = admin.execute(
            "SELECT rolvaliduntil BETWEEN now() + interval '23:59' AND now() + interval '24:00' FROM pg_roles "
            "WHERE rolname = %s", [made.role]
        ).fetchone()  # fmt: skip
        assert row == (True,)
        assert status(capsys)[made.role].startswith("open until ")
        assert can_log_in(former, made.tenants[0])
        admin.execute(f"ALTER ROLE {made.role} VALID UNTIL 'yesterday'".encode())
    assert status(capsys)[made.role].startswith("expired at ")
    assert not can_log_in(former, made.tenants[0])
    assert rotate(capsys).code == 0
    assert can_log_in(login_of(made, made.document()), made.tenants[0])


@pytest.mark.slow
def test_back(capsys, made: Deployment):
    first = made.document()
    assert rotate(capsys, "--grace", "1h").code == 0
    assert rotate(capsys, "--back").code == 0
    found = made.document()
    assert (found["username"], found["password"]) == (first["username"], first["password"])
    assert can_log_in(login_of(made, found), made.tenants[0])
    assert status(capsys)[made.role] == "in AWSCURRENT"
    with made.postgres.admin() as admin:  # It does not expire.
        row = admin.execute("SELECT rolvaliduntil::text FROM pg_roles WHERE rolname = %s", [made.role]).fetchone()
    assert row == ("infinity",)
    assert rotate(capsys, "--finish").code == 0
    result = rotate(capsys, "--back")
    assert (result.code, f"The former login {made.role}_b is closed." in result.err) == (1, True)


@pytest.mark.slow
def test_a_rollback_keeps_the_login(capsys, made: Deployment, monkeypatch):
    """The login of an earlier version can be closed: new connections would fail."""
    (first,), before = made.versions(), made.document()
    assert run(capsys, "sync_secrets", "--set", "email_host=smtp.other-host.net", "--noinput").code == 0
    assert rotate(capsys).code == 0
    assert rotate(capsys, "--finish").code == 0
    rotated = made.document()
    for key in ("username", "password", "owner", "rotated_at"):
        result = run(capsys, "sync_secrets", "--rollback", first, "--key", key, "--noinput")
        assert (result.code, "password was rotated since version" in result.err, made.document()) == (1, True, rotated)
    result = run(capsys, "sync_secrets", "--rollback", first, "--with-login", "--noinput")
    assert (result.code, f"The login {made.role} of version {first[:8]} does not work" in result.err) == (1, True), (
        result
    )
    assert made.document() == rotated
    result = run(capsys, "sync_secrets", "--rollback", first, "--noinput")
    assert (result.code, "Not rolled back: username, password, owner." in result.out) == (0, True), result
    assert made.document() == rotated | {"email_host": before["email_host"]}
    assert can_log_in(login_of(made, made.document()), made.tenants[0])


@pytest.mark.slow
def test_a_rollback_with_the_login_that_works(capsys, made: Deployment, monkeypatch):
    """After a password that the role never had."""
    monkeypatch.setenv("WRONG", "another-password-0123456789-0123456789")
    before = made.document()
    result = run(capsys, "sync_secrets", "--from-env", "password=WRONG", "--noinput")
    assert (result.code, "python manage.py rotate_credentials password" in result.out) == (0, True)
    assert "--rollback" in result.out.splitlines()[-1]
    assert result.out.splitlines()[-1].endswith(" --with-login")
    result = run(capsys, "sync_secrets", "--rollback", "--noinput")
    assert (result.code, "Not rolled back: password." in result.out) == (0, True), result
    assert made.document() != before
    assert run(capsys, "sync_secrets", "--rollback", "--with-login", "--noinput").code == 0
    assert made.document() == before


@pytest.mark.slow
def test_a_rollback_to_a_login_that_expires(capsys, made: Deployment):
    """PostgreSQL would refuse it after the time of --grace."""
    (first,) = made.versions()
    assert rotate(capsys, "--grace", "24h").code == 0
    rotated = made.document()
    result = run(capsys, "sync_secrets", "--rollback", first, "--with-login", "--noinput")
    assert (result.code, "--back" in result.err, made.document()) == (1, True, rotated), result
    assert rotate(capsys, "--back").code == 0
    assert can_log_in(login_of(made, made.document()), made.tenants[0])


@pytest.mark.slow
def test_a_rollback_keeps_the_rotated_key_of_django(capsys, made: Deployment):
    (first,) = made.versions()
    for _ in range(2):
        assert run(capsys, "rotate_credentials", "django_secret_key", *ROTATE).code == 0
    switched = made.document()
    assert run(capsys, "sync_secrets", "--set", "email_host=smtp.other-host.net", "--noinput").code == 0
    assert run(capsys, "sync_secrets", "--rollback", first, "--noinput").code == 0
    assert made.document() == switched


@pytest.mark.slow
def test_one_login(capsys, made: Deployment):
    first = made.document()
    with login_of(made, first).connect(made.tenants[0]):
        plan = rotate(capsys, "--one-login", "--plan")
    assert (plan.code, f"1 session of {made.role} without deploytools.backend." in plan.out) == (0, True)
    assert "deploytools from " in plan.out
    assert made.document() == first
    result = rotate(capsys, "--one-login")
    assert (result.code, f"All sessions of {made.role} are of processes with" in result.out) == (0, True)
    new = made.document()
    assert (new["username"], can_log_in(login_of(made, first), made.tenants[0])) == (made.role, False)
    assert can_log_in(login_of(made, new), made.tenants[0])
    assert labels(made) == {"AWSCURRENT", "AWSPREVIOUS"}


@pytest.mark.slow
@pytest.mark.parametrize("option", [[], ["--one-login"]])
def test_abort_of_one_login(capsys, made: Deployment, monkeypatch, option: list[str]):
    """Only while PostgreSQL has the password of AWSCURRENT."""
    first = made.document()
    for step, code in (("execute_sql", 0), ("test_login", 1)):
        with monkeypatch.context() as patched, pytest.raises(TypeError):
            patched.setattr(f"deploytools.rotation.rotator.Rotator.{step}", None)
            rotate(capsys, "--one-login")
        result = rotate(capsys, "--abort", *option)
        assert (result.code, made.document(), can_log_in(login_of(made, first), made.tenants[0])) == (
            code, first, not code,
        ), result  # fmt: skip
        assert (LABEL in labels(made)) is bool(code)
    assert "does not have the password of AWSCURRENT any more" in result.err
    command = "python manage.py rotate_credentials password --one-login\n"
    assert f"Complete it: {command}" in result.err
    assert f"Complete it:\n  {command}" in rotate(capsys, "--status").out
    assert rotate(capsys, "--one-login").code == 0
    assert can_log_in(login_of(made, made.document()), made.tenants[0])


@pytest.mark.slow
def test_another_rotation_in_progress(capsys, made: Deployment):
    """AWSPENDING is the lock against AWS's rotation, too."""
    made.client.put_secret_value(SecretId=made.name, SecretString="{}", VersionStages=["AWSPENDING"])
    before = made.versions()
    for option in ((), ("--finish",), ("--abort",), ("--back",), ("--status",)):
        result = rotate(capsys, *option)
        assert (result.code, "Another rotation of" in result.err) == (1, True), result
        assert "update-secret-version-stage" in result.err
    assert made.versions() == before


@pytest.mark.slow
def test_another_run(capsys, made: Deployment):
    from deploytools.postgres.connections import locked_session

    before = made.versions()
    with locked_session(made.postgres.master, wait=60):
        result = run(capsys, "rotate_credentials", "password", "--noinput")
    assert (result.code, "Another run has held the lock" in result.err) == (1, True)
    assert made.versions() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--finish", "--back"), "--finish cannot be combined with --back."),
        (("--finish", "--grace", "1h"), "--finish cannot be combined with --grace."),
        (("--now",), "--now requires --finish."),
        (("--end-sessions",), "--end-sessions requires --finish or --wait-for-sessions."),
        (("--one-login", "--grace", "24h"), "--one-login cannot be combined with --grace."),
        (("--one-login", "--wait-for-sessions", "5m"), "--one-login cannot be combined with --wait-for-sessions."),
        (("--status", "--plan"), "--status cannot be combined with --plan."),
    ],
)
def test_options_that_do_nothing_are_refused(capsys, options, message):
    result = rotate(capsys, *options)
    assert (result.code, message in result.err) == (2, True), result


@pytest.mark.slow
def test_a_login_that_is_neither(capsys, made: Deployment):
    made.put(owner="another_owner")
    result = rotate(capsys)
    assert result.code == 2
    assert f"The login in the secret is {made.role}, which is neither another_owner nor another_owner_b." in result.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--regenerate=django_secret_key"], ["--from-env=master_password=WRONG", "--set=email_port=465"]]
)
def test_a_replaced_credential_is_restored_only_by_its_key(capsys, deployment: Deployment, monkeypatch, options):
    """The last line of the report has the options. A password of the master user is tried first."""
    monkeypatch.setenv("WRONG", "wrong-password-0123456789-0123456789")
    before = deployment.document()
    result = run(capsys, "sync_secrets", *options, "--noinput")
    assert result.code == 0, result
    replaced = deployment.document()
    back = result.out.splitlines()[-1].split()[3:]
    assert run(capsys, "sync_secrets", *back[:2], "--noinput").code == 0
    key = next(key for key in ("django_secret_key", "master_password") if before[key] != replaced[key])
    kept = deployment.document()
    assert (kept[key], kept["rotated_at"], kept["email_port"]) == (replaced[key], replaced["rotated_at"], 587)
    assert run(capsys, "sync_secrets", *back, "--noinput").code == 0
    found = deployment.document()
    found.pop("django_secret_key_fallbacks", None)
    assert found == before
    if key == "master_password":
        (version, *_) = [version for version, labels in deployment.versions().items() if "AWSPREVIOUS" in labels]
        result = run(capsys, "sync_secrets", "--rollback", version, "--key", key, "--noinput")
        assert (result.code, "Run the command without --key master_password" in result.err) == (1, True), result
