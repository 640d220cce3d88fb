"""Compare the files of a project with what would be written. Pure.

`RECORD` has the digest of what was written. A file whose content would be the same as when it was written is not
proposed again, even if the project has edited it. So a second run proposes only what a new version of deploytools or
other settings changed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

#: The record, in the directory of the project.
RECORD = "deploy/deploytools.json"


@dataclass(frozen=True)
class FileChange:
    """One file to write.

    Attributes:
        before: its content; None: it does not exist.
    """

    path: str
    before: str | None
    after: str

    @property
    def is_new(self) -> bool:
        """Whether the file does not exist."""
        return self.before is None

    def diff(self) -> str:
        """Return the unified diff of an existing file."""
        lines = difflib.unified_diff(
            (self.before or "").splitlines(), self.after.splitlines(), self.path, self.path, lineterm=""
        )
        return "\n".join(lines)


def select(wanted: Mapping[str, str], paths: Collection[str]) -> dict[str, str]:
    """Return the part of `wanted` in `paths`, which are files or directories; all of it if there are none."""
    return {file: text for file, text in wanted.items() if not paths or any(is_in(file, path) for path in paths)}


def is_in(file: str, path: str) -> bool:
    """Return whether `file` is `path`, or in that directory."""
    return f"{file}/".startswith(f"{path.rstrip('/')}/")


def plan_files(
    wanted: Mapping[str, str], current: Mapping[str, str], recorded: Mapping[str, str]
) -> tuple[FileChange, ...]:
    """Return the files to write.

    Args:
        wanted: content by path.
        current: content of the files that exist.
        recorded: digest of what was written, by path.
    """
    return tuple(
        FileChange(path, current.get(path), text)
        for path, text in wanted.items()
        if current.get(path) != text and recorded.get(path) != digest(text)
    )


def update_record(
    recorded: Mapping[str, str], wanted: Mapping[str, str], current: Mapping[str, str], changes: Collection[FileChange]
) -> dict[str, str]:
    """Return the record after `changes` were written. Files that are equal already are recorded, too."""
    written = {change.path for change in changes}
    same = {path for path, text in wanted.items() if path in written or current.get(path) == text}
    return {path: digest(wanted[path]) if path in same else recorded[path] for path in sorted({*recorded, *same})}


def digest(text: str) -> str:
    """Return the digest of a file's content."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse_record(text: str) -> dict[str, str]:
    """Return the record; empty if `text` is not one."""
    try:
        files = json.loads(text).get("files", {})
    except (ValueError, AttributeError):
        return {}
    return {str(path): str(value) for path, value in files.items()} if isinstance(files, dict) else {}


def format_record(files: Mapping[str, str], version: str) -> str:
    """Return the content of the record."""
    return json.dumps({"deploytools": version, "files": dict(files)}, indent=2) + "\n"
