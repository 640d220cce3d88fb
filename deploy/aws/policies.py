"""Writes the IAM policies of the roles from what the code declares: ``python deploy/aws/policies.py``.

The application's role may do what its start looks at, the job's what the whole verification looks at. Neither may write
the secret: an operator does that, with `sync_secrets`, and has a policy of their own.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = {
    "policy-app.json": ("verify_deploy", "--iam-policy", "--tag", "startup"),
    "policy-job.json": ("verify_deploy", "--iam-policy"),
    "policy-operator.json": ("sync_secrets", "--iam-policy"),
}


def policies() -> dict[str, str]:
    """The text of each policy, by the name of its file."""
    from django.core.management import call_command

    texts = {}
    for name, command in COMMANDS.items():
        text = io.StringIO()
        call_command(*command, stdout=text)
        texts[name] = text.getvalue()
    return texts


def main() -> None:
    """Write all of them."""
    sys.path.insert(0, str(HERE.parent.parent))
    os.environ["DJANGO_SETTINGS_MODULE"] = "StartupWebApp.settings"
    import django

    django.setup()
    for name, text in policies().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
