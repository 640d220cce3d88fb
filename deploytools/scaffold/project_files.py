"""The content of the files, from the templates in ``files/`` and the names of the project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from deploytools.scaffold.project_names import ProjectNames

TEMPLATES = Path(__file__).with_name("files")


class _FileTemplate(Template):
    """A template with ``@@{name}``: shells, GitHub and Docker use the other common delimiters."""

    delimiter = "@@"


def render(names: ProjectNames, policies: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the content of each file by its path in the project.

    Args:
        policies: IAM policies by the name of their file in ``deploy/aws``.
    """
    values = _values(names)
    sources = {
        names.production_file: "settings_production.py",
        ".env.example": "env.example",
        "Dockerfile": "Dockerfile",
        ".dockerignore": "dockerignore",
        "deploy/ca/README.md": "ca-README.md",
        "deploy/aws/task-service.json": "task-service.json",
        "deploy/aws/task-job.json": "task-job.json",
        "deploy/aws/service.json": "service.json",
        "deploy/aws/policy-build.json": "policy-build.json",
        "deploy/aws/policy-pipeline.json": "policy-pipeline.json",
        "deploy/aws/trust-build.json": "trust-build.json",
        "deploy/aws/trust-pipeline.json": "trust-pipeline.json",
        "deploy/scan-exceptions.json": "scan-exceptions.json",
        ".github/workflows/deploy.yml": "deploy.yml",
        ".github/workflows/deploy-environment.yml": "deploy-environment.yml",
    }
    texts = {path: (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8") for path, name in sources.items()}
    return {path: _FileTemplate(text).substitute(values) for path, text in texts.items()} | {
        f"deploy/aws/{name}": json.dumps(policy, indent=2) + "\n" for name, policy in policies.items()
    }


def _values(names: ProjectNames) -> dict[str, str]:
    collectstatic = (
        "# collectstatic runs with the base settings, which need no secret.\n"
        f"RUN DJANGO_SETTINGS_MODULE={names.settings} python manage.py collectstatic --noinput --verbosity 0 \\\n && "
    )
    install = f"      - run: pip install --requirement {names.requirements} # for python3 -m deploytools.ecs\n"
    return {
        "package": names.package,
        "settings": names.settings,
        "production": names.production,
        "wsgi": names.wsgi,
        "name": names.name,
        "tenant": names.tenant,
        "host": names.host,
        "region": names.region,
        "requirements": names.requirements,
        "requirements_root": names.requirements.partition("/")[0],
        "hashes": "--require-hashes " if names.has_hashes else "",
        "copies": "\n".join(f"COPY {source} {source}" for source in names.sources),
        "included": "\n".join(f"!{source}" for source in names.sources),
        "collectstatic": collectstatic if names.has_static_root else "RUN ",
        "install": "" if "deploytools" in names.sources else install,
    }
