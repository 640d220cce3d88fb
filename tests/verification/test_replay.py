"""Facts kept in a file: everything but the content of secrets comes back, and what needs that is unknown."""

from __future__ import annotations

import json
import stat
import typing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest

from deploytools.errors import (
    AccessDenied,
    ConfigurationError,
    ConnectionFailed,
    ConnectionFailure,
    SecretIncomplete,
)
from deploytools.secret.document import Document
from deploytools.secret.value import Secret
from deploytools.verification import replay
from deploytools.verification.facts import Absent, Denied, Fact, Failed, NotTried, Value
from deploytools.verification.findings import Severity, Stage, Status, passed
from deploytools.verification.registry import Registry, load_registry
from deploytools.verification.runner import judge_all
from deploytools.verification.stored import Codec, Withheld, known_types


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    colour: Colour
    at: datetime


@dataclass(frozen=True)
class World:
    inner: tuple[Inner, ...]
    by_name: dict[str, Inner | None]
    document: Document
    error: ConnectionFailed | None = None


@dataclass(frozen=True)
class Stranger:
    pass


AT = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
CODEC = Codec(known_types([World]))
SECRET = "hunter2-hunter2"


def turned_round(value: Any) -> Any:
    return CODEC.decode(json.loads(json.dumps(CODEC.encode(value))))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, 1.5, "text", [1, [2]], (1, (2, "x")), frozenset({("a", "b"), ("c", "d")}), {1, 2},
        {("a", 1): [None]}, {"$": "tuple"}, AT, AT.date(), timedelta(seconds=1.5), Colour.RED, Inner(Colour.RED, AT),
        Value(Inner(Colour.RED, AT)), NotTried("x"), ConnectionFailure.REFUSED, Value({"a": (Inner(Colour.RED, AT),)}),
    ],
)  # fmt: skip
def test_values_come_back_as_they_were(value):
    back = turned_round(value)
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailed("No.", hint="Wait.", kind=ConnectionFailure.REFUSED),
        AccessDenied("No.", hint="Allow it.", action="rds:X"),
        SecretIncomplete("No.", hint="Put.", keys=["a", "b"]),
    ],
)
def test_errors_come_back_with_all_they_know(error):
    back = turned_round(Failed(error)).error
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_of_a_secret_only_its_length_is_kept():
    world = World((), {}, Document({"password": SECRET, "port": 5432, "empty": ""}))
    text = json.dumps(CODEC.encode(world))
    assert SECRET not in text and "5432" not in text
    document = turned_round(world).document
    assert list(document) == ["password", "port", "empty"]
    assert [bool(secret) for secret in document.values()] == [True, True, False]
    for look in (
        lambda: document["password"].reveal(),
        lambda: document["password"] == Secret(SECRET),
        lambda: hash(document["password"]),
    ):
        with pytest.raises(Withheld):
            look()
    assert turned_round(turned_round(world)).document["password"].length == len(SECRET)
    assert "********" in f"{document['password']}"


def test_only_types_that_are_declared_are_written_or_read():
    with pytest.raises(TypeError, match=r"tests\.verification\.test_replay\.Stranger is no type"):
        CODEC.encode((Stranger(),))
    with pytest.raises(KeyError):
        CODEC.decode({"$": "subprocess.Popen", "args": ["true"]})


def test_a_source_without_a_usable_annotation_harms_no_other(tmp_path):
    registry = Registry()

    @registry.fact()
    def odd() -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    loaded = kept(tmp_path, registry, odd=Value(1))
    assert loaded.facts == {"odd": Value(1)}


def test_every_fact_of_ours_can_be_kept():
    """Each type that a source says it returns is written and read; a type that says nothing is refused here."""
    for source in load_registry().sources.values():
        annotation = typing.get_type_hints(source.read).get("return")
        assert annotation is not None, source.name
        assert annotation not in {Any, object}, source.name


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @made.fact()
    def world() -> World:
        raise AssertionError("A replay reads nothing.")

    @made.fact()
    def strange() -> int:
        raise AssertionError("A replay reads nothing.")

    details: dict[str, Any] = {
        "title": "Good",
        "severity": Severity.HIGH,
        "stage": Stage.LAUNCH,
        "guide": "Step 1",
        "hint": "Mend it",
    }

    @made.check("a.shape", **details)
    def shape(world):
        """It matters."""
        return passed(", ".join(world.document))

    @made.check("a.content", **details)
    def content(world):
        """It matters."""
        return passed("never") if world.document["password"].reveal() else passed("never, either")

    @made.check("a.strange", **details)
    def of_strange(strange):
        """It matters."""
        return passed("never")

    return made


def kept(tmp_path, registry: Registry, **facts: Fact) -> replay.Snapshot:
    file = tmp_path / "facts.json"
    snapshot = replay.Snapshot(facts, date(2026, 11, 24), "prod", Stage.PRE_LAUNCH, "123456789012", ("one",))
    replay.save(snapshot, file, registry)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in file.read_text()
    loaded = replay.load(file, registry)
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]
    return loaded


GOOD = Value(World((), {}, Document({"password": SECRET})))


def test_a_replay_judges_what_it_can_and_passes_nothing_else(tmp_path, registry):
    snapshot = kept(tmp_path, registry, world=GOOD, strange=Value(Stranger()))
    assert (snapshot.day, snapshot.settings, snapshot.stage) == (date(2026, 11, 24), "prod", Stage.PRE_LAUNCH)
    assert (snapshot.account, snapshot.tenants) == ("123456789012", ("one",))
    found = judge_all(registry.select(), replay.facts_for(registry.sources, snapshot))
    assert [(finding.status, finding.evidence) for finding in found] == [
        (Status.PASS, "password"),
        (Status.UNKNOWN, "It takes the content of a secret to judge this; a file of facts holds none."),
        (
            Status.UNKNOWN,
            "The fact strange was read and cannot be stored: tests.verification.test_replay.Stranger is no type that a "
            "fact is declared to have.",
        ),
    ]


@pytest.mark.parametrize(
    ("fact", "status", "evidence"),
    [
        (Denied("rds:X", AccessDenied("Denied.", hint="Allow.", action="rds:X")), Status.UNKNOWN, "Denied."),
        (Absent(ConfigurationError("Gone.", hint="Look.")), Status.FAIL, "Gone."),
        (Failed(ConfigurationError("Broken.", hint="Look.")), Status.UNKNOWN, "Broken."),
    ],
)
def test_what_was_no_value_still_is_none(tmp_path, registry, fact, status, evidence):
    snapshot = kept(tmp_path, registry, world=fact)
    (first, *_) = judge_all(registry.select(), replay.facts_for(registry.sources, snapshot))
    assert (first.status, first.evidence) == (status, evidence)


def test_a_fact_that_the_file_does_not_hold_is_unknown(tmp_path, registry):
    snapshot = kept(tmp_path, registry, world=GOOD)
    *_, last = judge_all(registry.select(), replay.facts_for(registry.sources, snapshot))
    assert (last.status, last.evidence) == (Status.UNKNOWN, "The file of facts has no strange.")


def test_an_older_file_that_others_could_read_is_replaced(tmp_path, registry):
    (tmp_path / "facts.json").write_text("old")
    (tmp_path / "facts.json").chmod(0o644)
    assert kept(tmp_path, registry, world=GOOD).facts["world"]


HEAD = '{"version": 1, "day": "2026-11-24", "settings": "", "stage": "launch", "account": "", "tenants": [], "facts": '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "The facts could not be read from {}: No such file or directory."),
        ("{", "{} is no file of facts, or one of another release (JSONDecodeError)."),
        ('["password"]', "{} is no file of facts, or one of another release (TypeError)."),
        ('{"password": "hunter2"}', "{} is no file of facts, or one of another release (KeyError)."),
        ('{"version": 7}', "{} holds facts of version 7; this release reads 1."),
        (HEAD + '{"world": {"$": "os.system"}}}', "{} is no file of facts, or one of another release (KeyError)."),
        (HEAD + '{"world": "fine"}}', "{} is no file of facts, or one of another release (ValueError)."),
    ],
)
def test_what_is_no_file_of_facts(tmp_path, registry, text, message):
    file = tmp_path / "facts.json"
    if text:
        file.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        replay.load(file, registry)
    assert str(raised.value) == message.format(file)


def test_where_nothing_can_be_written(tmp_path, registry):
    with pytest.raises(ConfigurationError, match=r"could not be written to .*: No such file or directory\."):
        kept(tmp_path / "no" / "where", registry, world=GOOD)
