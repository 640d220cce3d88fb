"""The plan, the progress and the results of create_tenant_dbs as text."""

from __future__ import annotations

import re
import textwrap
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from deploytools.errors import Refused
from deploytools.reports.tenant_groups import for_each, group_tenants, tenant_counts
from deploytools.tenants.database_operations import CloneTemplate, CreateDatabase
from deploytools.tenants.operations import Operation
from deploytools.tenants.plan import DatabasePlan, TenantPlan
from deploytools.tenants.provisioning import ProvisioningResult
from deploytools.wording import count, join_names, wrapped

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper

BAR_WIDTH = 30


#: Statuses of tenants in a plan and in results, in the order of the counts.
PLANNED = ("to create", "to change", "up to date", "refused")
VERIFIED = ("verified", "refused", "failed")


def to_plan_text(plan: DatabasePlan, verbosity: int = 1) -> str:
    """Return the number of tenants by status, and the steps, errors and notes of `plan`, refused tenants last.

    Args:
        verbosity: from 2 on, tenants with the same steps are not grouped.
    """
    counts = tenant_counts(map(plan_status, plan.tenants), PLANNED)
    if plan.role_steps:
        counts += f"; {count(len(plan.role_steps), 'step')} for the shared role"
    lines = [line for step in (*plan.role_steps, *plan.template_steps) for line in _wrapped_lines(step_line(step))]
    tenants = sorted(plan.tenants, key=lambda tenant: tenant.error is not None)
    texts = [(tenant.tenant.name, text) for tenant in tenants if (text := "\n".join(_plan_lines(tenant)))]
    for names, text in group_tenants(texts, separately=verbosity > 1):
        is_group = len(names) > 1
        lines += wrapped(f"{for_each(names)}:", indent="  ", hanging="  ") if is_group else []
        lines += _wrapped_lines(textwrap.indent(text, "  " * is_group))
    return "\n".join([counts, *(lines or ["  No changes: everything is up to date."])])


def plan_status(plan: TenantPlan) -> str:
    """Return the status of a tenant in a plan."""
    if plan.error:
        return "refused"
    if any(isinstance(step, CreateDatabase | CloneTemplate) for step in plan.steps):
        return "to create"
    return "to change" if plan.steps else "up to date"


def _plan_lines(plan: TenantPlan) -> list[str]:
    error = [f"  ! {plan.error}", f"    Hint: {plan.error.hint}"] if plan.error else []
    return [*error, *map(step_line, plan.steps), *(f"  · {note}" for note in plan.notes)]


def _wrapped_lines(text: str) -> list[str]:
    parts = (re.fullmatch(r"( *(?:[-!·] )?)(.*)", line) for line in text.splitlines())
    return [line for part in parts if part for line in wrapped(part[2], indent=part[1])]


def step_line(step: Operation) -> str:
    """Return the line of a plan for `step`."""
    return f"  - {step}"


def to_text(
    results: Sequence[ProvisioningResult],
    notes: Iterable[tuple[str, str]],
    *,
    is_shared: bool,
    seconds: float,
    verbosity: int = 1,
) -> str:
    """Return the tenants by result, the notes, the failed tenants by cause, and the number of tenants by status.

    Args:
        notes: the tenant of each note, or an empty string, and the note.
        verbosity: from 2 on, tenants with the same result are not grouped.
    """
    role, denied = ("the", "PUBLIC") if is_shared else ("its own", "PUBLIC and other tenants' roles")
    verified = f"verified: {role} application role can log in and create tables, {denied} cannot connect"
    by_tenant = partial(group_tenants, separately=verbosity > 1)
    good = by_tenant((result.tenant.name, f"{_changes(result)}; {verified}") for result in results if not result.error)
    bad = by_tenant((result.tenant.name, f"{result.error}\n{result.error.hint}") for result in results if result.error)
    lines = [line for names, text in good for line in wrapped(f"{join_names(names)}: {text}", indent="✓ ")]
    for names, note in by_tenant(notes):
        lines += wrapped(note if len(names) == 1 else f"{for_each(names)}: {note}", indent="· ")
    for names, text in bad:
        error, _, hint = text.rpartition("\n")
        lines += wrapped(f"{join_names(names)}: {error}", indent="✗ ") + wrapped(f"Hint: {hint}", indent="  ")
    return "\n".join([*lines, f"{tenant_counts(map(result_status, results), VERIFIED)}; {seconds:.1f} s"])


def result_status(result: ProvisioningResult) -> str:
    """Return the status of a tenant in the results."""
    if result.error is None:
        return "verified"
    return "refused" if result.error.exit_code == Refused.exit_code else "failed"


def _changes(result: ProvisioningResult) -> str:
    return f"{count(len(result.done), 'step')} applied" if result.done else "no changes"


class Progress:
    """Show how many tenants are done: a bar on a terminal, otherwise one line for each tenant.

    Args:
        verbosity: 0 shows nothing; 2 and 3 show each step, too.
        has_results: whether the lines have the results, because no text report has them.
    """

    def __init__(self, stream: OutputWrapper, total: int, verbosity: int, *, has_results: bool = False) -> None:
        self._stream, self._total, self._verbosity, self._has_results = stream, total, verbosity, has_results
        self._has_bar = verbosity == 1 and stream.isatty()
        self._done = 0
        self._lock = threading.Lock()

    def step_done(self, step: Operation) -> None:
        """Show an applied step."""
        if self._verbosity > 1:
            self._stream.write(f"done: {step}")

    def tenant_done(self, result: ProvisioningResult) -> None:
        """Show a tenant that was verified or failed; called from several threads."""
        with self._lock:
            self._done += 1
            if self._has_bar:
                self._draw_bar(result.tenant.name)
            elif self._verbosity and result.done:
                status = f": {result.error or _changes(result)}" if self._has_results else ""
                self._stream.write(f"[{self._done}/{self._total}] {result.tenant.name}{status}")

    def _draw_bar(self, name: str) -> None:
        filled = BAR_WIDTH * self._done // self._total
        bar = "█" * filled + "·" * (BAR_WIDTH - filled)
        end = "\n" if self._done == self._total else ""
        self._stream.write(f"\r{bar} {self._done}/{self._total} {name[:40]:<40}", ending=end)
        self._stream.flush()
