"""Reads the facts that checks need, concurrently, each once and each with a deadline, and judges them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import replace
from threading import Thread

from deploytools.errors import AccessDenied, DeployError, NotFound, SecretNotFound
from deploytools.verification.facts import Absent, Denied, Fact, Failed, NotTried, Value
from deploytools.verification.findings import Finding, Stage, Status, Verdict
from deploytools.verification.registry import Check, Source
from deploytools.verification.stored import Withheld
from deploytools.verification.troubleshooting import advice

logger = logging.getLogger(__name__)


def judge_all(checks: Iterable[Check], facts: Mapping[str, Fact], stage: Stage = Stage.LAUNCH) -> tuple[Finding, ...]:
    """The findings of all `checks`, in their order; what binds from launch on only warns at an earlier `stage`."""
    checks = tuple(checks)
    told = {name: check.id for check in checks for name in check.speaks_for if isinstance(facts.get(name), Absent)}
    return tuple(_at_stage(finding, check, stage) for check in checks for finding in judge(check, facts, told))


def _at_stage(finding: Finding, check: Check, stage: Stage) -> Finding:
    if finding.status is Status.FAIL and check.stage is Stage.LAUNCH and stage is Stage.PRE_LAUNCH:
        return replace(finding, status=Status.WARN, evidence=f"{finding.evidence} (from launch on a failure)")
    return finding


def read_facts(sources: Mapping[str, Source]) -> dict[str, Fact]:
    """Read each source in a thread of its own.

    Args:
        sources: in an order in which each comes after those that it needs.

    Returns:
        A fact for every source; one that missed its deadline is `Failed`.
    """
    futures: dict[str, Future[Fact]] = {name: Future() for name in sources}
    for source in sources.values():
        Thread(target=_read_into, args=(futures, source), name=f"fact {source.name}", daemon=True).start()
    facts: dict[str, Fact] = {}
    started = time.monotonic()
    for name, source in sources.items():
        remaining = started + _whole_deadline(source, sources) - time.monotonic()
        try:
            facts[name] = futures[name].result(timeout=max(0.0, remaining))
        except FutureTimeoutError:
            facts[name] = _too_late(source)
            with suppress(InvalidStateError):
                futures[name].set_result(facts[name])
    return facts


def _whole_deadline(source: Source, sources: Mapping[str, Source]) -> float:
    """A source's own deadline begins when what it needs has been read."""
    return source.seconds + max((_whole_deadline(sources[name], sources) for name in source.needs), default=0.0)


def _read_into(futures: Mapping[str, Future[Fact]], source: Source) -> None:
    needed = {name: futures[name].result() for name in source.needs}
    result = _read(source, needed)
    with suppress(InvalidStateError):  # The deadline was first.
        futures[source.name].set_result(result)


def _read(source: Source, needed: Mapping[str, Fact]) -> Fact:
    values = {name: fact.value for name, fact in needed.items() if isinstance(fact, Value)}
    for name in needed:
        if name not in values:
            return NotTried(name)
    try:
        return Value(source.read(**values))
    except AccessDenied as error:
        return Denied(error.action, error)
    except (NotFound, SecretNotFound) as error:
        return Absent(error)
    except DeployError as error:
        return Failed(error)
    except Exception as error:
        logger.debug("The source %s raised.", source.name, exc_info=True)
        return Failed(_unexpected(f"Reading {source.name}", error))


def _too_late(source: Source) -> Failed:
    return Failed(
        DeployError(
            f"Reading {source.name} took more than {source.seconds:g} s.", hint="Run it again; look at what is slow."
        )
    )


def _unexpected(what: str, error: Exception) -> DeployError:
    """Nothing of the exception's text: nobody has looked whether it holds a credential."""
    return DeployError(
        f"{what} raised {type(error).__name__}.", hint="Please report it, with what LOG_LEVEL=DEBUG shows."
    )


def judge(check: Check, facts: Mapping[str, Fact], told: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    """The findings of one check. What could not be read, and a check that raises, is unknown; never a pass.

    Args:
        told: facts that are absent, with the check that tells it for all others.
    """
    for name in check.needs:
        if not isinstance(facts[name], Value):
            root = _root(name, facts)
            if told and root in told and root not in check.speaks_for:
                return (_finding(check, _told_elsewhere(facts[root], told[root])),)
            return (_finding(check, _without_value(facts[name], facts[root])),)
    values = {name: facts[name].value for name in check.needs}  # type: ignore[union-attr]
    try:
        result = check.judge(**values)
        verdicts = (result,) if isinstance(result, Verdict) else tuple(result)
    except Withheld as error:
        return (_finding(check, Verdict(Status.UNKNOWN, str(error), hint=error.hint)),)
    except Exception as error:
        logger.debug("The check %s raised.", check.id, exc_info=True)
        problem = _unexpected(f"The check {check.id}", error)
        return (_finding(check, Verdict(Status.UNKNOWN, str(problem), hint=problem.hint)),)
    if not verdicts:
        return (_finding(check, Verdict(Status.UNKNOWN, "There was nothing to judge.")),)
    return tuple(_finding(check, verdict) for verdict in verdicts)


def _root(name: str, facts: Mapping[str, Fact]) -> str:
    """The name of the fact for want of which that one was not tried, or its own."""
    fact = facts[name]
    return _root(fact.needed, facts) if isinstance(fact, NotTried) else name


def _told_elsewhere(fact: Fact, check: str) -> Verdict:
    assert isinstance(fact, Absent)  # noqa: S101
    return Verdict(Status.NOT_APPLICABLE, f"{str(fact.error).removesuffix('.')} (see {check})")


def _without_value(fact: Fact, root: Fact) -> Verdict:
    if isinstance(fact, NotTried):
        return Verdict(Status.UNKNOWN, f"Not tried: there is no {fact.needed.replace('_', ' ')}.", hint=_hint(root))
    if isinstance(fact, Absent):
        return Verdict(Status.FAIL, str(fact.error), hint=_hint(fact))
    assert not isinstance(fact, Value)  # noqa: S101
    return Verdict(Status.UNKNOWN, str(fact.error), hint=_hint(fact))


def _hint(fact: Fact) -> str:
    return "" if isinstance(fact, Value | NotTried) else advice(fact.error)


def _finding(check: Check, verdict: Verdict) -> Finding:
    needs_hint = verdict.status in {Status.WARN, Status.FAIL, Status.UNKNOWN}
    return Finding(
        check=check.id,
        title=check.title,
        severity=check.severity,
        guide=check.guide,
        status=verdict.status,
        resource=verdict.resource,
        evidence=verdict.evidence,
        hint=(verdict.hint or check.hint) if needs_hint else "",
        measured=verdict.measured,
    )
