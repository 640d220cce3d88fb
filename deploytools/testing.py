"""Public API for tests of a project that uses deploytools.

``pytest_plugins = ["deploytools.testing"]`` in the project's ``conftest.py`` provides the fixture `stored_secret`.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from deploytools.errors import Refused, SecretNotFound

try:
    import pytest
except ImportError:  # In production.
    __all__ = ["RefusingRunner"]
else:
    from collections.abc import Callable, Mapping

    from deploytools.secrets.document import Document, Secret, parse
    from deploytools.secrets.reader import SecretReader

    __all__ = ["RefusingRunner", "stored_secret"]

    @pytest.fixture
    def stored_secret(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Mapping[str, Any]], None]:
        """Return a function that stores a secret in memory: ``stored_secret(name, content)``.

        During the test, `load_secrets` and `production_settings` read these secrets and never query AWS. Any other
        secret does not exist: SecretNotFound.
        """
        contents: dict[str, Document] = {}

        def read_current(reader: SecretReader) -> tuple[str, Document]:
            if reader.name not in contents:
                raise SecretNotFound(
                    f"The test has not stored the secret {reader.name}.", hint="Call stored_secret(name, content)"
                )
            return "stored", contents[reader.name]

        def store(name: str, content: Mapping[str, Any]) -> None:
            contents[name] = parse(Secret(json.dumps(content)), source=f"The secret {name}")

        monkeypatch.setattr(SecretReader, "read_current", read_current)
        return store


class RefusingRunner:
    """A ``TEST_RUNNER`` for production settings that refuses to run.

    Django's test runner would create and drop ``test_*`` databases on the production instance.

    Raises:
        Refused: always.
    """

    def __init__(self, **_: Any) -> None:
        raise Refused(
            "Tests cannot run with the production settings: they would create and drop test_* databases on the "
            "production instance, and need CREATEDB, which the application role must not have.",
            hint="Run the tests with your development settings. To check production, run: "
            "python manage.py verify_deploy",
        )

    def run_tests(self, *_: Any, **__: Any) -> NoReturn:
        """Never called; ``manage.py test`` requires the method."""
        raise NotImplementedError
