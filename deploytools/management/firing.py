"""``verify_deploy --fire-test`` at the terminal: shows what would be set off, asks, does it, tells what came of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploytools.conf import configuration
from deploytools.management.base import FINDINGS, FINE, DeployCommand
from deploytools.verification import fire_test
from deploytools.verification.facts import Fact, NotTried, Value
from deploytools.verification.fire_test import Firing


def fire(command: DeployCommand, facts: Mapping[str, Fact], *, interactive: bool) -> int:
    """Set off this instance's alarms, if the person at the terminal agrees.

    Args:
        facts: `alarms` and `alarm_topics` among them.

    Returns:
        The exit code: 1 where a topic was not told, an alarm reaches nobody, or there is nothing to set off.

    Raises:
        DeployError: the alarms could not be read, or setting them off is denied.
        Refused: nobody agreed.
    """
    firings = fire_test.plan(_value(facts, "alarms"), _value(facts, "alarm_topics"))
    count = _show(command, firings)
    if not count:
        command.stderr.write("Fire test: there is no alarm to set off (see the checks alarms.metrics and alarms.act).")
        return FINDINGS
    command.confirm(
        f"Set off {count} alarms? Each goes back by itself.", interactive=interactive, hint="Say --noinput to fire."
    )
    results = fire_test.fire(firings, configuration.region, _remembering(command))
    for told in results:
        command.stderr.write(
            f"  {told.alarm}: " + (f"FAILED: {told.failure}" if told.failure else f"told {told.topic}")
        )
    failures = sum(1 for told in results if told.failure)
    unheard = sum(1 for firing in firings if not firing.left_out and not firing.heard_by)
    wrong = [f"{failures} of {len(results)} were not told"] if failures else []
    wrong += [f"{unheard} of {count} alarms reach nobody (see alarms.heard)"] if unheard else []
    left_out = f"; {len(firings) - count} of {len(firings)} alarms were left out" if count < len(firings) else ""
    command.stderr.write(f"Fire test: {', '.join(wrong) or 'all were told; look whether it arrives'}{left_out}.")
    return FINDINGS if wrong else FINE


def _remembering(command: DeployCommand) -> Callable[[str], None]:
    """What is to be called with each alarm, before it is set off: Ctrl-C then says which they are."""
    alarms: list[str] = []

    def setting_off(alarm: str) -> None:
        alarms.append(alarm)
        command.left = f"Some alarms may have been set off, and go back by themselves: {', '.join(alarms)}"
        command.again = f"look at them: aws cloudwatch describe-alarms --alarm-names {shlex.join(alarms)}"

    return setting_off


def _show(command: DeployCommand, firings: Sequence[Firing]) -> int:
    """Say what would be done; returns how many alarms would be set off."""
    command.stderr.write("Fire test: these alarms are set to ALARM, and tell whom they tell in earnest.")
    for firing in firings:
        heard = ", ".join(firing.heard_by) or "nobody has confirmed (see alarms.heard)"
        told = f"{', '.join(firing.topics)} ({heard})"
        command.stderr.write(f"  {firing.alarm}: " + (f"left out: {firing.left_out}" if firing.left_out else told))
    return sum(1 for firing in firings if not firing.left_out)


def _value(facts: Mapping[str, Fact], name: str) -> Any:
    fact = facts[name]
    while isinstance(fact, NotTried):
        fact = facts[fact.needed]
    if isinstance(fact, Value):
        return fact.value
    raise fact.error
