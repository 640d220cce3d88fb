"""Releases of the test app, one after another: more migrations, a squash, the originals deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

PACKAGE = "soak_releases"
NOTE = """migrations.CreateModel("Note", [
    ("id", models.BigAutoField(primary_key=True, serialize=False)), ("text", models.TextField())])"""
CHANGES = (
    'migrations.AddField("note", "number_{0}", models.IntegerField(null=True))',
    'migrations.CreateModel("Table{0}", [("id", models.BigAutoField(primary_key=True, serialize=False))])',
    'migrations.AddIndex("note", models.Index(fields=["id"], name="index_{0}"))',
)
MIGRATION = """from django.db import migrations, models


class Migration(migrations.Migration):
    initial = {initial}
    replaces = {replaces}
    dependencies = {dependencies}
    operations = [{operations}]
"""


@dataclass
class Migration:
    name: str
    operations: list[str]
    replaces: list[str] = field(default_factory=list)


@dataclass
class Releases:
    """The migrations of the present release. Each release is another package, so that no cached module is used."""

    directory: Path
    migrations: list[Migration] = field(default_factory=lambda: [Migration("0001_initial", [NOTE])])
    number: int = 0

    def __post_init__(self) -> None:
        self._write()

    @property
    def module(self) -> str:
        return f"{PACKAGE}.release_{self.number}"

    @property
    def squash(self) -> Migration | None:
        """The squashed migration whose originals are still there."""
        return next((migration for migration in self.migrations if migration.replaces), None)

    def add(self, random: Random) -> None:
        """Release one more migration."""
        number = self.number + 2
        self.migrations.append(Migration(f"{number:04}_change", [random.choice(CHANGES).format(number)]))
        self._write()

    def add_squash(self) -> None:
        """Release a squash of all migrations."""
        names = [migration.name for migration in self.migrations]
        operations = [operation for migration in self.migrations for operation in migration.operations]
        self.migrations.insert(0, Migration(f"0001_squashed_{names[-1]}", operations, names))
        self._write()

    def delete_replaced(self) -> None:
        """Release the squash without its originals, as Django's documentation describes."""
        assert self.squash
        kept = [migration for migration in self.migrations if migration.name not in self.squash.replaces]
        self.squash.replaces = []
        self.migrations = kept
        self._write()

    def _write(self) -> None:
        self.number += 1
        package = self.directory / PACKAGE / f"release_{self.number}"
        package.mkdir(parents=True)
        for file in (package, package.parent):
            (file / "__init__.py").touch()
        previous = ""
        for migration in self.migrations:
            dependencies = [("fleet", previous)] if previous and not migration.replaces else []
            text = MIGRATION.format(
                initial=not dependencies,
                replaces=[("fleet", name) for name in migration.replaces],
                dependencies=dependencies,
                operations=", ".join(migration.operations),
            )
            (package / f"{migration.name}.py").write_text(text, encoding="utf-8")
            previous = "" if migration.replaces else migration.name
