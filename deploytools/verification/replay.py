"""The file of facts: what was read, kept so that a finding can be argued about later, with no network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from deploytools.errors import ConfigurationError, DeployError
from deploytools.verification.facts import Fact, Failed
from deploytools.verification.findings import Stage
from deploytools.verification.registry import Registry
from deploytools.verification.stored import Codec, hints, known_types

#: Version of the file: it grows when an older one can no longer be read.
VERSION = 1


@dataclass(frozen=True)
class Snapshot:
    """The facts of one run, and what they were read for.

    Attributes:
        day: when they were read; waivers are judged as of it.
        settings: the settings module.
    """

    facts: Mapping[str, Fact]
    day: date
    settings: str
    stage: Stage
    account: str
    tenants: tuple[str, ...]


def save(snapshot: Snapshot, path: Path, registry: Registry) -> None:
    """Write `snapshot` into a file that only its owner can read.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    codec = _codec(registry)
    document = {
        "version": VERSION,
        "day": snapshot.day.isoformat(),
        "settings": snapshot.settings,
        "stage": snapshot.stage,
        "account": snapshot.account,
        "tenants": list(snapshot.tenants),
        "facts": {name: _encoded(codec, name, fact) for name, fact in snapshot.facts.items()},
    }
    try:
        _write_privately(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"The facts could not be written to {path}: {error.strerror}.", hint="Name another file: --facts FILE"
        ) from error


def _write_privately(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, whoever made an older file of that name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _encoded(codec: Codec, name: str, fact: Fact) -> Any:
    try:
        return codec.encode(fact)
    except TypeError as error:
        problem = DeployError(f"The fact {name} was read and cannot be stored: {error}", hint="Run it without --replay")
        return codec.encode(Failed(problem))


def load(path: Path, registry: Registry) -> Snapshot:
    """What `save` wrote.

    Raises:
        ConfigurationError: the file cannot be read, is none of ours, or is of another version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] == VERSION:
            return _snapshot(document, _codec(registry))
    except OSError as error:
        raise ConfigurationError(
            f"The facts could not be read from {path}: {error.strerror}.", hint="Write them: verify_deploy --facts FILE"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is no file of facts, or one of another release ({type(error).__name__}).",
            hint="Write it: verify_deploy --facts FILE",
        ) from None
    raise ConfigurationError(
        f"{path} holds facts of version {document['version']}; this release reads {VERSION}.",
        hint="Write it again: verify_deploy --facts FILE",
    )


def _snapshot(document: Mapping[str, Any], codec: Codec) -> Snapshot:
    return Snapshot(
        {name: _decoded(codec, fact) for name, fact in document["facts"].items()},
        date.fromisoformat(document["day"]),
        str(document["settings"]),
        Stage(document["stage"]),
        str(document["account"]),
        tuple(document["tenants"]),
    )


def _decoded(codec: Codec, stored: Any) -> Fact:
    fact = codec.decode(stored)
    if not isinstance(fact, Fact):
        raise ValueError(f"{type(fact).__name__} is no fact.")
    return fact


def facts_for(names: Iterable[str], snapshot: Snapshot) -> dict[str, Fact]:
    """The facts of those names; one that the file does not hold has failed, and says so."""
    return {name: snapshot.facts.get(name) or _not_there(name) for name in names}


def _not_there(name: str) -> Failed:
    return Failed(
        DeployError(
            f"The file of facts has no {name.replace('_', ' ')}.",
            hint="Write it again with the same selection of checks: verify_deploy --facts FILE",
        )
    )


def _codec(registry: Registry) -> Codec:
    return Codec(known_types(hints(source.read).get("return") for source in registry.sources.values()))
