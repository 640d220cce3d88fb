"""Refuses `manage.py test` under the production settings (Step 10 of the guide as written)."""

from __future__ import annotations

from typing import Any, NoReturn

from deploytools.errors import Refused


class RefusingRunner:
    """Django's ``TEST_RUNNER`` for production: runs nothing, says why and what to run instead."""

    def __init__(self, **_: Any) -> None:
        raise Refused(
            "The tests do not run under the production settings: they would create and drop test_* databases "
            "on the production instance, as a role that must not have CREATEDB.",
            hint="Run scripts/test: it uses a PostgreSQL of its own. What to run against production: "
            "python manage.py verify_deploy",
        )

    def run_tests(self, *_: Any, **__: Any) -> NoReturn:
        """Never reached; Django's command looks for it."""
        raise NotImplementedError
