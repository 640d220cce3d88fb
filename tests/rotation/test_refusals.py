"""What a rotation refuses before it changes anything, or before its switch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploytools.errors import ConfigurationError, DatabaseError, Refused
from deploytools.postgres.connections import Login
from deploytools.reports.rotation_text import to_status_text
from deploytools.rotation.rotation_plan import plan_back, plan_finish
from deploytools.rotation.rotation_state import master_credential, other_login
from deploytools.rotation.rotation_store import RotationStore
from deploytools.secrets.document import Secret
from deploytools.tenants.master import SHARED_KEYS
from tests.fakes.errors import Crash
from tests.fakes.secretsmanager import PENDING
from tests.rotation.world import FIRST, NAME, World


def is_unchanged(made: World) -> bool:
    """Return whether the secret has its first version only, and its login works."""
    made.login().connect(made.database).close()
    return (made.document()["password"], list(made.fake.stored.labels.values())) == (FIRST, ["f" * 32])


def test_the_second_login_would_have_too_long_a_name():
    assert other_login("a" * 61, "a" * 61) == "a" * 61 + "_b"
    for owner in ("a" * 62, "ü" * 31):
        with pytest.raises(ConfigurationError, match="which is longer than 63 bytes"):
            other_login(owner, owner)


@pytest.mark.slow
def test_the_master_user_has_no_admin_option(made: World):
    """As on a role that it created before an upgrade to 16."""
    with made.postgres.admin() as admin:
        admin.execute(f"REVOKE {made.owner} FROM postgres CASCADE".encode())
        admin.execute(f"GRANT {made.owner} TO postgres".encode())
    with pytest.raises(DatabaseError, match=f"is not allowed to set the password of {made.owner}:") as caught:
        made.rotate()
    assert caught.value.hint == f'As the role that created it: GRANT "{made.owner}" TO "postgres" WITH ADMIN OPTION'
    assert (is_unchanged(made), made.steps) == (True, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("LOGIN", "exists and is not a login of"),
        ("NOLOGIN BYPASSRLS", "has BYPASSRLS, which an application role must not have"),
    ],
)
def test_another_role_has_the_name_of_the_second_login(made: World, attributes: str, message: str):
    with made.postgres.admin() as admin:
        admin.execute(f"CREATE ROLE {made.owner}_b {attributes}; "
                      f"GRANT {made.owner}_b TO postgres WITH ADMIN OPTION".encode())  # fmt: skip
    with pytest.raises(DatabaseError, match=f"{made.owner}_b {message}"):
        made.rotate()
    assert (is_unchanged(made), made.steps) == (True, [])


@pytest.mark.slow
def test_the_server_ignores_set_role(made: World):
    """As the minor versions of November 2024 do, without an error: the new login acts as itself."""
    with pytest.raises(Crash):
        made.rotate(after=3)
    assert made.steps[-1] == "AssignLogin"

    def ignore() -> None:
        with made.postgres.admin() as admin:
            admin.execute(f"ALTER ROLE {made.owner}_b RESET role".encode())

    made.fake.on("Put", ignore)
    with pytest.raises(DatabaseError, match=f"{made.owner}_b acts as {made.owner}_b, expected {made.owner}") as caught:
        made.rotate()
    assert "14.14, 15.9, 16.5 and 17.1 ignore ALTER ROLE" in (caught.value.hint or "")
    assert made.document()["password"] == FIRST
    made.login().connect(made.database).close()


@pytest.mark.slow
def test_abort_with_one_login_of_a_rotation_to_the_other_login(made: World):
    with pytest.raises(Crash):
        made.rotate(after=4)
    assert made.steps[-1] == "CreateVersion"
    made.abort(one_login=True)
    assert (PENDING in made.fake.stored.labels, made.document()["password"]) == (False, FIRST)
    made.rotate()
    made.require_rotated()


@pytest.mark.slow
def test_abort_after_another_writer_has_changed_the_login(made: World):
    """The login in the secret is then neither of the two; the one that the rotation has opened is closed."""
    with pytest.raises(Crash):
        made.rotate(after=5)
    assert made.steps[-1] == "OpenLogin"
    other = f"{made.name}_other"
    made.postgres.make_role(other, Secret(FIRST))
    made.fake.put_secret_value(SecretId=NAME, SecretString=json.dumps(made.document() | {"username": other}))
    made.abort(one_login=True)
    assert PENDING not in made.fake.stored.labels
    with made.postgres.admin() as admin:
        query = "SELECT rolname::text AS name, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)"
        found = dict(map(tuple, admin.execute(query, [[other, f"{made.owner}_b"]]).fetchall()))
    assert found == {other: True, f"{made.owner}_b": False}


def test_there_is_no_former_login_before_the_first_rotation(made: World):
    with pytest.raises(Refused, match=f"^The former login {made.owner}_b does not exist yet.$"):
        plan_back(made.state())


@pytest.mark.slow
@pytest.mark.parametrize("plan", [plan_finish, plan_back])
def test_what_requires_a_finished_rotation_names_the_command_that_completes_it(made: World, plan: Any):
    with pytest.raises(Crash):
        made.rotate(after=1, one_login=True)
    with pytest.raises(Refused) as caught:
        plan(made.state())
    assert caught.value.hint == "Complete it: python manage.py rotate_credentials password --one-login"


@pytest.mark.slow
def test_the_interrupted_rotation_of_another_credential_keeps_its_labels(made: World):
    """Its next run completes what is left to do, for example --grace."""
    with pytest.raises(Crash):
        made.rotate(after=7)
    client: Any = made.fake
    store = RotationStore(client, NAME, "us-east-1", credential=master_credential(SHARED_KEYS))
    labels = dict(made.fake.stored.labels)
    state = store.read()
    with pytest.raises(Refused, match="A rotation of password in prod was interrupted after its switch") as caught:
        store.begin(state, state.document)
    assert (caught.value.hint or "").endswith("python manage.py rotate_credentials password")
    assert made.fake.stored.labels == labels


@pytest.mark.slow
def test_the_status_names_an_interrupted_switch(made: World):
    with pytest.raises(Crash):
        made.rotate(after=7)
    assert (made.steps[-1], PENDING in made.fake.stored.labels) == ("Switch", True)
    message = (
        "A rotation was interrupted after its switch. Complete it:\n  python manage.py rotate_credentials password"
    )
    assert message in to_status_text(made.state())
    assert message not in to_status_text(made.rotate())


@pytest.mark.slow
def test_a_session_of_the_former_login_since_the_plan(made: World):
    """Its process would lose its password. A session with the new one, from AWSPENDING, does no harm."""
    made.rotate()
    former, sessions = Login(made.postgres.address, made.owner, Secret(FIRST)), []
    made.fake.on("Put", lambda: sessions.append(former.connect(made.database)))
    with pytest.raises(Refused, match=f"The former login {made.owner} is in use by .* Its password was not changed"):
        made.rotate()
    former.connect(made.database).close()
    with pytest.raises(Refused, match="is in use by"):
        made.rotate()
    sessions[0].close()
    with pytest.raises(Crash):
        made.rotate(after=1)
    pending = json.loads(made.fake.stored.versions[made.fake.stored.labels[PENDING]]["SecretString"])  # type: ignore[index]
    with Login(made.postgres.address, made.owner, Secret(pending["password"])).connect(made.database):
        made.rotate()
    assert made.document()["username"] == made.owner
    made.login().connect(made.database).close()
