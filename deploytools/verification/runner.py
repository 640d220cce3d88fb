"""Read the facts that checks need and evaluate the checks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from typing import Any

from deploytools.errors import DeployError, NotFound, SecretNotFound
from deploytools.verification.fact_result import Absent, Fact, Failed, NotTried, Value
from deploytools.verification.findings import (
    Check,
    Finding,
    Severity,
    Stage,
    Status,
    Verdict,
    failed,
    not_applicable,
    unknown,
)
from deploytools.verification.registry import SETTINGS, Source
from deploytools.verification.unexpected import unexpected_error


def read_facts(sources: Mapping[str, Source], given: Mapping[str, Any] | None = None) -> dict[str, Fact]:
    """Read all sources concurrently, each once, in its own thread.

    Args:
        sources: each after those that it needs.
        given: values of facts that are not read, by name: ``settings``.

    Returns:
        All facts by name. A fact that missed its deadline is `Failed`.
    """
    given = given or {}
    facts: dict[str, Fact] = {name: Value(value) for name, value in given.items()}
    futures: dict[str, Future[Fact]] = {name: Future() for name in [*facts, *sources]}
    for name, fact in facts.items():
        futures[name].set_result(fact)
    for source in sources.values():
        Thread(target=_read_into, args=(futures, source), name=f"fact {source.name}", daemon=True).start()
    started = time.monotonic()
    for name, source in sources.items():
        remaining = started + _total_deadline(source, sources, given) - time.monotonic()
        try:
            facts[name] = futures[name].result(timeout=max(0.0, remaining))
        except FutureTimeoutError:
            facts[name] = _missed_deadline(source, given)
            with suppress(InvalidStateError):
                futures[name].set_result(facts[name])
    return facts


def _total_deadline(source: Source, sources: Mapping[str, Source], given: Mapping[str, Any]) -> float:
    """The deadline of a source starts when the facts that it needs were read."""
    needed = (_total_deadline(sources[name], sources, given) for name in source.needs if name in sources)
    return source.seconds(given) + max(needed, default=0.0)


def _read_into(futures: Mapping[str, Future[Fact]], source: Source) -> None:
    needed = {name: futures[name].result() for name in source.needs}
    started = time.perf_counter()
    fact = _read(source, needed)
    fact = replace(fact, seconds=time.perf_counter() - started)
    with suppress(InvalidStateError):  # The deadline was missed.
        futures[source.name].set_result(fact)


def _read(source: Source, needed: Mapping[str, Fact]) -> Fact:
    values = {name: fact.value for name, fact in needed.items() if isinstance(fact, Value)}
    for name in needed:
        if name not in values:
            return NotTried(name)
    try:
        return Value(source.read(**values))
    except (NotFound, SecretNotFound) as error:
        return Absent(error)
    except DeployError as error:
        return Failed(error)
    except Exception as error:
        return Failed(unexpected_error(f"Reading {source.name}", error))


def _missed_deadline(source: Source, given: Mapping[str, Any]) -> Failed:
    seconds = source.seconds(given)
    message = f"Reading {source.name} took more than {seconds:g} s."
    hint = "Run the command again. Check the network and the service that is read."
    return Failed(DeployError(message, hint=hint), seconds=seconds)


def seconds_of_checks(
    checks: Iterable[Check], sources: Mapping[str, Source], facts: Mapping[str, Fact]
) -> dict[str, float]:
    """Return how long the facts of each check were read; a shared fact counts for the first check that needs it."""
    left = dict(sources)

    def seconds(name: str) -> float:
        source = left.pop(name, None)
        return facts[name].seconds + sum(map(seconds, source.needs)) if source else 0.0

    return {check.id: sum(map(seconds, check.needs)) for check in checks}


def evaluate_checks(
    checks: Iterable[Check], facts: Mapping[str, Fact], stage: Stage = Stage.LAUNCH
) -> tuple[Finding, ...]:
    """Return the findings of `checks`, in their order.

    A fact without a value, and a check that raises an exception, never pass. Checks that depend on a fact without a
    value have its name as their cause. If it does not exist, one of them reports it. In the stage ``pre-launch``,
    failures of checks that are binding from ``launch`` on are warnings.
    """
    checks, causes = tuple(checks), _causes(facts)
    missing = {check.id: next((name for name in check.needs if name in causes), None) for check in checks}
    reporters: dict[str, str] = {}
    for check in sorted(checks, key=lambda check: _rank(check, facts.get(missing[check.id] or ""))):
        if name := missing[check.id]:
            reporters.setdefault(causes[name], check.id)
    findings: list[Finding] = []
    for check in checks:
        if name := missing[check.id]:
            cause = causes[name]
            findings.append(_not_evaluated(check, cause, facts, is_reporter=reporters[cause] == check.id))
        else:
            reported = causes.get(check.reports, "")
            findings += [_finding(check, verdict, reported) for verdict in _verdicts(check, facts)]
    found = tuple(_at_stage(finding, stage) for finding in findings)
    return _with_unset_items(found) if stage is Stage.LAUNCH else found


def _with_unset_items(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Make an item of the Security Checklist unknown if none of its checks was evaluated for want of a setting."""
    evaluated = {finding.check.item for finding in findings if finding.status is not Status.NOT_APPLICABLE}

    def changed(finding: Finding) -> Finding:
        check = finding.check
        if not check.item or check.item in evaluated or not check.setting or finding.evidence != check.not_set:
            return finding
        setting = f'DEPLOYTOOLS["{check.setting}"]'
        hint = f"Set {setting}. If the deployment has none, set it to None"
        return Finding(check, unknown(finding.evidence, finding.resource, hint), cause=setting)

    return tuple(map(changed, findings))


def _rank(check: Check, missing: Fact | None) -> tuple[int, int, bool]:
    """The sort key of a check as the reporter of `missing`: by stage, severity, and whether it needs the cause."""
    severity = list(Severity).index(check.severity)
    return list(Stage).index(check.stage), -severity, isinstance(missing, NotTried)


def _finding(check: Check, verdict: Verdict, reported: str) -> Finding:
    return Finding(check, verdict, cause=reported if verdict.status in {Status.FAIL, Status.UNKNOWN} else "")


def _causes(facts: Mapping[str, Fact]) -> dict[str, str]:
    """Return, for each fact without a value, the fact whose error is the reason: the first one with that error."""
    first: dict[tuple[str, str], str] = {}
    causes: dict[str, str] = {}
    for name in facts:
        root = name
        while isinstance(fact := facts[root], NotTried):
            root = fact.needed
        if not isinstance(fact, Value):
            causes[name] = first.setdefault((str(fact.error), fact.error.hint), root)
    return causes


def _not_evaluated(check: Check, cause: str, facts: Mapping[str, Fact], *, is_reporter: bool) -> Finding:
    """Only the reporter reports that something does not exist."""
    fact = facts[cause]
    assert not isinstance(fact, Value | NotTried)  # noqa: S101
    evidence, hint = str(fact.error), fact.error.hint
    verdict = failed if isinstance(fact, Absent) and is_reporter else unknown
    return Finding(check, verdict(evidence, hint=hint), cause=cause)


def _at_stage(finding: Finding, stage: Stage) -> Finding:
    if finding.status is Status.FAIL and finding.check.stage is Stage.LAUNCH and stage is Stage.PRE_LAUNCH:
        evidence = f"{finding.evidence} (a failure in stage launch)"
        return replace(finding, verdict=replace(finding.verdict, status=Status.WARN, evidence=evidence))
    return finding


def _verdicts(check: Check, facts: Mapping[str, Fact]) -> tuple[Verdict, ...]:
    values = {name: fact.value for name in check.needs if isinstance(fact := facts[name], Value)}
    subject = next(iter(values.values()), None)
    if check.not_set and subject is None:
        settings = facts.get(SETTINGS)
        is_absent = isinstance(settings, Value) and check.setting in settings.value.absent
        return (not_applicable(f'DEPLOYTOOLS["{check.setting}"] is None' if is_absent else check.not_set),)
    try:
        result = check.evaluate(**values)
        verdicts = (result,) if isinstance(result, Verdict) else tuple(result)
        if check.resource_of:
            resource = check.resource_of(subject)
            verdicts = tuple(replace(verdict, resource=verdict.resource or resource) for verdict in verdicts)
    except Exception as error:
        problem = unexpected_error(f"The check {check.id}", error)
        return (unknown(str(problem), hint=problem.hint),)
    return verdicts or (unknown("the check returned no verdict"),)
