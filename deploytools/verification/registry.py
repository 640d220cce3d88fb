"""The registry of facts and checks."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.utils.module_loading import autodiscover_modules

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Check, Severity, Stage

Function = TypeVar("Function", bound=Callable[..., Any])

#: The beginning of a reference to an item of the guide's Security Checklist.
CHECKLIST = "Security Checklist: "

#: The fact that has no source: the command passes it to `read_facts`.
SETTINGS = "settings"


@dataclass(frozen=True)
class Source:
    """How a fact is read. The other attributes are the arguments of `Registry.fact`.

    Attributes:
        needs: names of the facts that `read` takes.
    """

    name: str
    read: Callable[..., Any]
    actions: tuple[str, ...]
    deadline: float | Callable[[Settings], float]
    needs: tuple[str, ...]

    def seconds(self, given: Mapping[str, Any]) -> float:
        """Return the deadline.

        Args:
            given: the facts that are not read, by name.
        """
        return self.deadline(given[SETTINGS]) if callable(self.deadline) else self.deadline


@dataclass
class Registry:
    """All facts and checks, in the order of their registration."""

    sources: dict[str, Source] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)

    def fact(
        self, *, actions: Iterable[str] = (), deadline: float | Callable[[Settings], float] = 15.0
    ) -> Callable[[Function], Function]:
        """Register the decorated function as the source of the fact with its name.

        Args:
            actions: IAM actions that the function needs.
            deadline: seconds after which reading fails, or a function of the settings that returns them.

        Raises:
            ValueError: the name is taken.
        """

        def register(read: Function) -> Function:
            name = read.__name__
            if name in self.sources or name == SETTINGS:
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
        hint: str,
        guide: str = "",
        stage: Stage = Stage.PRE_LAUNCH,
        tags: Iterable[str] = (),
        references: Iterable[str] = (),
        per_tenant: bool = False,
        not_set: str = "",
        setting: str = "",
        reports: str = "",
        resource_of: Callable[[Any], str] | None = None,
        preset: str = "",
    ) -> Callable[[Function], Function]:
        """Register the decorated function as a check. Its docstring states the risk.

        Args:
            id: ``area.subject``, permanent.
            title: the expected state.
            hint: how to fix a failure, if the verdict has no hint.
            guide: for ``DEPLOYTOOLS["GROUP_BY"] = "guide"``: the step of the guide, or the item of its checklist.
            stage: the stage from which a failure is binding; before it, a failure is only a warning.
            tags: more tags than the area, for ``--tag``.
            references: ids of the same check elsewhere, for example ``FSBP RDS.11``.
            per_tenant: whether the first word of a verdict's resource is the name of a tenant.
            not_set: why the check is not applicable if its first fact is None; empty: it evaluates None, too.
            setting: key of ``DEPLOYTOOLS`` that sets the first fact; None there means that there is no such resource.
            reports: name of a fact whose failure this check reports, with a better explanation than the fact's error.
            resource_of: return the resource, from the first fact, of verdicts that do not name one.
            preset: preset of secret fields without which the check does not exist; empty: it always exists.

        Raises:
            ValueError: the id is taken or malformed, or a text is missing.
        """
        self._validate(id, title, hint, severity, stage)

        def register(evaluate: Function) -> Function:
            why = inspect.getdoc(evaluate) or ""
            if not why:
                raise ValueError(f"The check {id} needs a docstring that states the risk.")
            self.checks[id] = Check(
                id=id,
                title=title,
                why=why,
                severity=severity,
                stage=stage,
                guide=guide,
                hint=hint,
                evaluate=evaluate,
                needs=_parameters(evaluate),
                tags=frozenset({id.partition(".")[0], *tags}),
                references=tuple(references),
                per_tenant=per_tenant,
                not_set=not_set,
                setting=setting,
                item=guide.removeprefix(CHECKLIST) if guide.startswith(CHECKLIST) else "",
                reports=reports,
                resource_of=resource_of,
                preset=preset,
            )
            return evaluate

        return register

    def with_presets(self, presets: Iterable[str]) -> Registry:
        """Return the registry without the checks of presets that are not in `presets`."""
        chosen = {"", *presets}
        return Registry(self.sources, {id: check for id, check in self.checks.items() if check.preset in chosen})

    def _validate(self, id: str, title: str, hint: str, severity: Severity, stage: Stage) -> None:
        if not re.fullmatch(r"[a-z]+\.[a-z0-9-]+", id):
            raise ValueError(f"The check id {id!r} is not of the form area.subject.")
        if id in self.checks:
            raise ValueError(f"The check {id} is registered twice.")
        if not (title and hint):
            raise ValueError(f"The check {id} needs a title and a hint.")
        if severity not in list(Severity) or stage not in list(Stage):
            raise ValueError(f"The check {id} needs a severity and a stage.")

    def select(
        self, tags: Iterable[str] = (), *, only: Iterable[str] = (), exclude: Iterable[str] = ()
    ) -> tuple[Check, ...]:
        """Return the selected checks.

        Args:
            tags: select checks with one of these tags; empty: with any.
            only: select only these ids; empty: all.
            exclude: ids that are not selected.

        Raises:
            ConfigurationError: a tag or an id does not exist, or no check is selected.
        """
        wanted, chosen, excluded = frozenset(tags), frozenset(only), frozenset(exclude)
        for tag in sorted(wanted - set(self.tags)):
            raise ConfigurationError(f"No check has the tag {tag}.", hint=f"Use one of: {', '.join(self.tags)}.")
        for id in sorted(chosen | excluded):
            self.named(id)
        selected = tuple(
            check
            for check in self.checks.values()
            if (not wanted or wanted & check.tags) and (not chosen or check.id in chosen) and check.id not in excluded
        )
        if not selected:
            raise ConfigurationError("No check is selected.", hint="Remove some of --tag, --only and --exclude.")
        return selected

    def named(self, id: str) -> Check:
        """Return the check with that id.

        Raises:
            ConfigurationError: it does not exist; the hint has similar ids.
        """
        if id not in self.checks:
            import difflib  # Only for a mistyped id.

            near = difflib.get_close_matches(id, self.checks)
            suggestion = f"Did you mean {' or '.join(near)}? " if near else ""
            raise ConfigurationError(
                f"The check {id} does not exist.", hint=f"{suggestion}List all: python manage.py verify_deploy --list"
            )
        return self.checks[id]

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags, sorted."""
        return tuple(sorted({tag for check in self.checks.values() for tag in check.tags}))

    def sources_for(self, checks: Iterable[Check]) -> dict[str, Source]:
        """Return the sources of the facts that `checks` need, each after those that it needs itself."""
        ordered: dict[str, Source] = {}

        def visit(name: str) -> None:
            if name not in ordered and name != SETTINGS:
                for needed in self.sources[name].needs:
                    visit(needed)
                ordered[name] = self.sources[name]

        for check in checks:
            for name in check.needs:
                visit(name)
        return ordered

    def actions_for(self, checks: Iterable[Check]) -> tuple[str, ...]:
        """Return the IAM actions that reading the facts of `checks` needs, sorted."""
        return tuple(sorted({action for source in self.sources_for(checks).values() for action in source.actions}))


registry = Registry()
fact = registry.fact
check = registry.check


def load_registry(*modules: str) -> Registry:
    """Import `modules`, or else the module ``deploy_checks`` of every installed app, and return the registry."""
    for module in modules:
        importlib.import_module(module)
    if not modules:
        autodiscover_modules("deploy_checks")
    return registry


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
