"""One database, its owner, and a secret: PostgreSQL is a real server, Secrets Manager is the strict fake."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from deploytools.errors import DeployError
from deploytools.postgres.connections import Login, locked_session
from deploytools.rotation.rotation_plan import plan_abort, plan_finish, plan_rotation
from deploytools.rotation.rotation_state import RotationState
from deploytools.rotation.rotation_store import RotationStore
from deploytools.rotation.rotator import Rotator
from deploytools.secrets.document import Secret
from deploytools.tenants.operations import Operation
from tests.fakes.errors import Crash
from tests.fakes.secretsmanager import PENDING, Fake
from tests.fleet.world import make_databases
from tests.postgres_server import Postgres

FIRST = "first-password-0123456789-0123456789"
NAME = "prod"
OTHER_KEY = {"django_secret_key": "k" * 50}


class World:
    """One database, its owner, and a secret."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres, self.name = postgres, postgres.fresh_name()
        self.owner, self.database = f"{self.name}_app", f"{self.name}_one"
        make_databases(postgres, Login(postgres.address, self.owner, Secret(FIRST)), [self.database])
        with postgres.admin() as admin:
            admin.execute(
                f"GRANT {self.owner} TO postgres WITH ADMIN OPTION; "
                f"REVOKE CONNECT, TEMPORARY ON DATABASE {self.database} FROM PUBLIC".encode()
            )
        self.fake = Fake(NAME)
        values = {"username": self.owner, "password": FIRST, **OTHER_KEY}
        self.fake.create_secret(Name=NAME, SecretString=json.dumps(values), ClientRequestToken="f" * 32)
        self.steps: list[str] = []

    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.fake.current))

    def login(self) -> Login:
        """Return the login in AWSCURRENT."""
        found = self.document()
        return Login(self.postgres.address, found["username"], Secret(found["password"]))

    def rotate(self, *, after: int | None = None, **options: Any) -> RotationState:
        """Run a rotation; crash after so many steps."""

        def on_step(step: Operation) -> None:
            self.steps.append(type(step).__name__)
            if after is not None and len(self.steps) == after:
                raise Crash

        self.steps.clear()
        one_login = options.get("one_login", False)
        return self._with_rotator(on_step, lambda r: r.run(plan_rotation(r.read(), **options)), one_login=one_login)

    def state(self) -> RotationState:
        return self._with_rotator(lambda step: None, lambda r: None)

    def abort(self, *, one_login: bool = False) -> RotationState:
        return self._with_rotator(lambda step: None, lambda r: r.run(plan_abort(r.read())), one_login=one_login)

    def finish(self) -> RotationState:
        return self._with_rotator(lambda step: None, lambda r: r.run(plan_finish(r.read())))

    def _with_rotator(
        self, on_step: Callable[[Operation], None], action: Callable[[Rotator], None], **options: Any
    ) -> RotationState:
        client: Any = self.fake
        store = RotationStore(client, NAME, "us-east-1", sleep=lambda _: None)
        app = Login(self.postgres.address, self.owner, Secret(FIRST))
        with locked_session(self.postgres.master, wait=60) as connection:
            rotator = Rotator(connection, store, app, self.owner, [self.database], on_step=on_step, **options)
            action(rotator)
            return rotator.read()

    def require_rotated(self) -> None:
        """The rotation is complete: the other login is current and works, and no label is left."""
        found = self.document()
        assert (found["username"], found["django_secret_key"]) == (f"{self.owner}_b", OTHER_KEY["django_secret_key"])
        self.login().connect(self.database).close()
        assert PENDING not in self.fake.stored.labels


class Poller(threading.Thread):
    """Logs in with what AWSCURRENT says, without pause."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.attempts, self.failures, self.is_done = world, 0, list[str](), threading.Event()

    def run(self) -> None:
        while not self.is_done.wait(0.02):
            self.attempts += 1
            try:
                self.world.login().connect(self.world.database).close()
            except DeployError as error:
                self.failures.append(str(error))

    def __enter__(self) -> Poller:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_done.set()
        self.join()
