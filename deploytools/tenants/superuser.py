"""The superuser that the secret describes, created in each tenant's database that does not have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import OperationalError, ProgrammingError, router

from deploytools.errors import ConfigurationError, DatabaseError, DeployError, Refused, SecretIncomplete
from deploytools.postgres.connections import Login
from deploytools.postgres.default_connection import ALIAS, default_connection_to
from deploytools.secrets.document import Document, Secret, value_of
from deploytools.tenants.database_operations import CreateSuperuser
from deploytools.tenants.options import Tenant
from deploytools.tenants.plan import DatabasePlan, TenantPlan

REQUIRED = ("superuser_username", "superuser_password")


@dataclass(frozen=True)
class SuperuserAccount:
    """Superuser credentials from the secret; never displayed.

    Attributes:
        fields: the values of the user model's fields, by name, as they are in the secret.
    """

    fields: Mapping[str, Secret[Any]]
    password: Secret[str]

    @property
    def username(self) -> Secret[Any]:
        return self.fields[get_user_model().USERNAME_FIELD]


def read_account(secret: Document) -> SuperuserAccount:
    """Return the secret's ``superuser_*`` if Django's password validators accept the password.

    Raises:
        SecretIncomplete: keys are missing.
        ConfigurationError: users are not in the tenants' databases.
        Refused: the password is not accepted.
    """
    missing = [key for key in REQUIRED if key not in secret or not secret[key].reveal()]
    if missing:
        raise SecretIncomplete(
            f"--superuser requires {' and '.join(missing)} in the secret.",
            hint="Write them (and superuser_email) to a JSON file and run: python manage.py sync_secrets FILE",
            keys=missing,
        )
    model = get_user_model()
    if not router.allow_migrate_model(ALIAS, model):
        raise ConfigurationError(
            f"{model._meta.label} is not in the tenants' databases: DATABASE_ROUTERS excludes it from {ALIAS}.",
            hint="Run the command without --superuser, and createsuperuser --database for the alias that has it.",
        )
    values = {model.get_email_field_name(): secret["superuser_email"].reveal()} if "superuser_email" in secret else {}
    extra = value_of(secret, "superuser_extra", {})
    values |= (extra if isinstance(extra, dict) else {}) | {model.USERNAME_FIELD: secret["superuser_username"].reveal()}
    account = SuperuserAccount(
        {name: Secret(value) for name, value in values.items()}, Secret(str(secret["superuser_password"].reveal()))
    )
    _validate_password(account)
    return account


def _validate_password(account: SuperuserAccount) -> None:
    model = get_user_model()
    texts = {field.attname for field in model._meta.concrete_fields if not field.is_relation}
    user = model(**{name: value.reveal() for name, value in account.fields.items() if name in texts})
    try:
        validate_password(account.password.reveal(), user)
    except ValidationError as error:
        raise Refused(
            f"The superuser_password in the secret is too weak. {' '.join(error.messages)}",
            hint="Write a stronger one to a JSON file and run: python manage.py sync_secrets FILE",
        ) from None


def has_superuser(login: Login, database: str, account: SuperuserAccount) -> bool:
    """Return whether `database` has a superuser of that name.

    Raises:
        Refused: a user of that name is not a superuser.
        DeployError: the users cannot be read.
    """
    model = get_user_model()
    with default_connection_to(login, database), _translate_errors(f"read the users of {database}", account):
        name = _clean(model.USERNAME_FIELD, account.username)
        try:
            found = model._default_manager.using(ALIAS).filter(**{model.USERNAME_FIELD: name}).first()
        except ProgrammingError:  # There are no tables yet.
            return False
    # A model without PermissionsMixin has no is_superuser.
    if found is not None and not getattr(found, "is_superuser", getattr(found, "is_staff", True)):
        raise Refused(
            f"{database} has a user with the name superuser_username who is not a superuser; nothing was changed.",
            hint=f"Check that user in {database}, or set another superuser_username in the secret.",
        )
    return found is not None


def create_superuser(login: Login, database: str, account: SuperuserAccount) -> None:
    """Create the superuser, as ``createsuperuser`` does, unless `database` has it.

    Raises:
        Refused: the secret lacks required fields of the user model, or the model or its manager refuses the values.
        DeployError: the database cannot be read or written.
    """
    if has_superuser(login, database, account):
        return
    names = _field_names(account)
    manager: Any = get_user_model()._default_manager
    with default_connection_to(login, database), _translate_errors(f"create the superuser in {database}", account):
        values = {name: _clean(name, account.fields[name]) for name in names}
        manager.db_manager(ALIAS).create_superuser(**values, password=account.password.reveal())


def _field_names(account: SuperuserAccount) -> list[str]:
    """Return the fields that the manager gets: those that ``createsuperuser`` gives, and those of superuser_extra."""
    model = get_user_model()
    required = [name for name in model.REQUIRED_FIELDS if not _is_blank(name)]
    if missing := [name for name in required if not account.fields.get(name)]:
        raise Refused(
            f"{model._meta.label} requires {' and '.join(missing)} of a superuser.",
            hint=f'Write a JSON file, {{"superuser_extra": {{"{missing[0]}": "…"}}}}, and run: '
            "python manage.py sync_secrets FILE",
        )
    expected = {model.USERNAME_FIELD, *model.REQUIRED_FIELDS}
    return [name for name in account.fields if name in expected or name != model.get_email_field_name()]


def _is_blank(name: str) -> bool:
    return bool(getattr(get_user_model()._meta.get_field(name), "blank", False))


def _clean(name: str, value: Secret[Any]) -> Any:
    """Convert a value from JSON as a form of the field would; of a foreign key it is the primary key."""
    model = get_user_model()
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:  # The manager knows it, or reports it.
        return value.reveal()
    try:
        return field.clean(value.reveal(), None)
    except (ValidationError, TypeError, ValueError):  # The message would show the value.
        key = "superuser_username" if name == model.USERNAME_FIELD else "superuser_extra"
        raise Refused(
            f"{key} in the secret has an invalid value for {model._meta.label}.{name}.",
            hint="Write a valid one to a JSON file and run: python manage.py sync_secrets FILE",
        ) from None


@contextmanager
def _translate_errors(action: str, account: SuperuserAccount) -> Iterator[None]:
    """Translate what the database, the model and its manager raise; a text with a value of the secret is dropped."""
    try:
        yield
    except DeployError:
        raise
    except OperationalError as error:
        raise DatabaseError(f"Could not {action}: {type(error).__name__}.", hint="Run the command again.") from None
    except Exception as error:
        text = _text(error)
        values = [str(value.reveal()) for value in (*account.fields.values(), account.password) if value]
        detail = f": {text}" if text and not any(value in text for value in values) else ""
        raise Refused(
            f"Could not {action} ({type(error).__name__}){detail}",
            hint="Check superuser_username and superuser_extra in the secret, the manager of "
            f"{get_user_model()._meta.label}, and the migrations: python manage.py migrate_tenants --check",
        ) from None


def _text(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return " ".join(error.messages)
    diagnostics = getattr(error.__cause__, "diag", None)  # PostgreSQL's detail would show the row.
    return " ".join(str(getattr(diagnostics, "message_primary", None) or error).split())


def with_superusers(plan: DatabasePlan, has_one: Callable[[Tenant], bool]) -> DatabasePlan:
    """Return `plan` with a last step for each tenant that has no superuser.

    While `plan` still has to create or change a tenant's login or database, that tenant is checked when the step runs.

    Args:
        has_one: query a tenant's database; its errors concern only that tenant.
    """

    def one(tenant: TenantPlan) -> TenantPlan:
        if tenant.error:
            return tenant
        can_log_in = not any(step.affects_login for step in (*plan.role_steps, *tenant.steps))
        try:
            if can_log_in and has_one(tenant.tenant):
                return tenant
        except DeployError as error:
            return replace(tenant, steps=(), error=error)
        return replace(tenant, steps=(*tenant.steps, CreateSuperuser(tenant.tenant.name)))

    return replace(plan, tenants=tuple(map(one, plan.tenants)))
