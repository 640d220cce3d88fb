"""What a supervisor is asked to start, as the one argument of its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from localcloud.binaries import PostgresBinaries


@dataclass(frozen=True)
class Request:
    """What to start. `pg_port` 0 takes a free one; `has_owners`: stop when nobody holds the owners' lock any more."""

    directory: Path
    postgres: tuple[PostgresBinaries, ...]
    pg_port: int
    has_owners: bool

    def to_json(self) -> str:
        """As one argument of a command line: there is no secret in it."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Request:
        """What `to_json` wrote."""
        document = json.loads(text)
        postgres = tuple(
            PostgresBinaries(**{**binaries, "bin_dir": Path(binaries["bin_dir"])})
            for binaries in document.pop("postgres")
        )
        return cls(**{**document, "directory": Path(document["directory"]), "postgres": postgres})
