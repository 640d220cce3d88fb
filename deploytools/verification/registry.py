"""Facts and checks by name. An installed app adds its own in a module ``deploy_checks``::

    from deploytools.verification.registry import check, fact
    from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed

    @fact()
    def catalogue_size() -> int:
        return Product.objects.count()

    @check("shop.catalogue-not-empty", title="The shop has products", severity=Severity.MEDIUM,
           stage=Stage.LAUNCH, guide="Step 9", hint="Run: python manage.py load_sample_data")
    def catalogue_not_empty(catalogue_size: int) -> Verdict:
        "A shop without products takes no orders."
        return passed(f"{catalogue_size} products") if catalogue_size else failed("no product")

A check's parameters, and a fact's, are names of facts.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.utils.module_loading import autodiscover_modules

from deploytools.errors import ConfigurationError
from deploytools.verification.checks import AREAS
from deploytools.verification.findings import Severity, Stage, Verdict

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Source:
    """How a fact is read.

    Attributes:
        actions: the IAM actions that reading it needs.
        deadline: seconds after which it counts as failed, or what says how many these settings need.
        needs: names of the facts that it is read from.
    """

    name: str
    read: Callable[..., Any]
    actions: tuple[str, ...]
    deadline: float | Callable[[], float]
    needs: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Its deadline under these settings."""
        return self.deadline() if callable(self.deadline) else self.deadline


@dataclass(frozen=True)
class Check:
    """One question to the facts.

    Attributes:
        id: permanent, ``area.subject``.
        title: the good state.
        why: why it matters, one or two sentences: the docstring of its function.
        stage: from when on it binds; before, a failure only warns.
        peers: the ids of what others check, for example ``Prowler rds_instance_backup_enabled``, ``FSBP RDS.11``.
        judge: a pure function of facts that returns a `Verdict`, or several.
        needs: names of the facts that it judges.
        tags: what ``--tag`` selects by; the area is one of them.
        speaks_for: names of facts whose absence it tells for all: other checks that need them do not apply then.
    """

    id: str
    title: str
    why: str
    severity: Severity
    stage: Stage
    guide: str
    hint: str
    tags: frozenset[str]
    peers: tuple[str, ...]
    judge: Callable[..., Verdict | Iterable[Verdict]]
    needs: tuple[str, ...]
    speaks_for: tuple[str, ...] = ()


@dataclass
class Registry:
    """All facts and checks, in the order in which they were registered."""

    sources: dict[str, Source] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)

    def fact(
        self, *, actions: Iterable[str] = (), deadline: float | Callable[[], float] = 15.0
    ) -> Callable[[Function], Function]:
        """Register the decorated function as the source of the fact that bears its name."""

        def register(read: Function) -> Function:
            name = read.__name__
            if name in self.sources:
                raise ValueError(f"The fact {name} is registered twice.")
            self.sources[name] = Source(name, read, tuple(actions), deadline, _parameters(read))
            return read

        return register

    def check(
        self,
        id: str,
        *,
        title: str,
        severity: Severity,
        stage: Stage,
        guide: str,
        hint: str,
        tags: Iterable[str] = (),
        peers: Iterable[str] = (),
        speaks_for: Iterable[str] = (),
    ) -> Callable[[Function], Function]:
        """Register the decorated function as a check; its docstring says why the check matters.

        Raises:
            ValueError: the id is taken or malformed, or a text is empty.
        """
        self._refuse_taken(id)
        if not (title and guide and hint):
            raise ValueError(f"The check {id} needs a title, a guide reference and a hint.")
        if severity not in list(Severity) or stage not in list(Stage):
            raise ValueError(f"The check {id} needs a severity and a stage.")

        def register(judge: Function) -> Function:
            why = inspect.getdoc(judge) or ""
            if not why:
                raise ValueError(f"The check {id} has no docstring that says why it matters.")
            self.checks[id] = Check(
                id=id,
                title=title,
                why=why,
                severity=severity,
                stage=stage,
                guide=guide,
                hint=hint,
                tags=frozenset({id.split(".")[0], *tags}),
                peers=tuple(peers),
                judge=judge,
                needs=_parameters(judge),
                speaks_for=tuple(speaks_for),
            )
            return judge

        return register

    def _refuse_taken(self, id: str) -> None:
        if not re.fullmatch(r"[a-z]+\.[a-z0-9-]+", id):
            raise ValueError(f"{id!r} is not of the form area.subject.")
        if id in self.checks:
            raise ValueError(f"The check {id} is registered twice.")

    def select(
        self, tags: Iterable[str] = (), *, only: Iterable[str] = (), exclude: Iterable[str] = ()
    ) -> tuple[Check, ...]:
        """The checks that bear one of `tags` and are among `only`, where any are named, and not among `exclude`.

        Raises:
            ConfigurationError: nothing bears a tag or an id, or nothing is left.
        """
        wanted, chosen, left_out = frozenset(tags), frozenset(only), frozenset(exclude)
        for tag in sorted(wanted - set(self.tags)):
            raise ConfigurationError(f"No check bears the tag {tag}.", hint=f"The tags are: {', '.join(self.tags)}.")
        for id in sorted(chosen | left_out):
            self.named(id)
        selected = tuple(
            check
            for check in self.checks.values()
            if (not wanted or wanted & check.tags) and (not chosen or check.id in chosen) and check.id not in left_out
        )
        if not selected:
            raise ConfigurationError("No check is left to run.", hint="Ask for less with --tag, --only and --exclude.")
        return selected

    def named(self, id: str) -> Check:
        """The check with that id.

        Raises:
            ConfigurationError: there is none; with the ids that look like it.
        """
        if id not in self.checks:
            import difflib  # Only where somebody has mistyped.

            near = difflib.get_close_matches(id, self.checks)
            meant = f"Did you mean {' or '.join(near)}? " if near else ""
            raise ConfigurationError(
                f"There is no check {id}.", hint=f"{meant}All ids: python manage.py verify_deploy --list"
            )
        return self.checks[id]

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag that a check bears, sorted."""
        return tuple(sorted({tag for check in self.checks.values() for tag in check.tags}))

    def sources_for(self, checks: Iterable[Check]) -> dict[str, Source]:
        """The sources that `checks` need, those first that others are read from."""
        ordered: dict[str, Source] = {}

        def visit(name: str) -> None:
            if name not in ordered:
                for needed in self.sources[name].needs:
                    visit(needed)
                ordered[name] = self.sources[name]

        for check in checks:
            for name in check.needs:
                visit(name)
        return ordered

    def actions_for(self, checks: Iterable[Check]) -> tuple[str, ...]:
        """The IAM actions that reading the facts of `checks` needs, sorted."""
        return tuple(sorted({action for source in self.sources_for(checks).values() for action in source.actions}))


registry = Registry()
fact = registry.fact
check = registry.check


def load_registry(*areas: str) -> Registry:
    """The registry with the checks of these areas; with none named, all of ours and those of the apps."""
    for area in areas or AREAS:
        importlib.import_module(f"deploytools.verification.checks.{area}")
    if not areas:
        autodiscover_modules("deploy_checks")
    return registry


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
