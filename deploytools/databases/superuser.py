"""The superuser that the secret describes, made in a tenant's database where there is none of its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import Error, ProgrammingError

from deploytools.databases.alias import pointed_at
from deploytools.databases.plan import DatabasePlan, TenantPlan
from deploytools.databases.server import Login
from deploytools.databases.steps import (
    CloneTemplate,
    CreateDatabase,
    CreateRole,
    HandOver,
    HandOverObjects,
    MakeSuperuser,
    Open,
    SetPassword,
    WriteSecret,
)
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError, DeployError, Refused, SecretIncomplete
from deploytools.secret.document import Document
from deploytools.secret.value import Secret

#: Until these are done, a tenant's login may not work, or may not read its tables.
BEFORE_A_LOGIN = (
    WriteSecret, CreateRole, SetPassword, CreateDatabase, CloneTemplate, HandOver, HandOverObjects, Open,
)  # fmt: skip

REQUIRED = ("superuser_username", "superuser_password")


@dataclass(frozen=True)
class Account:
    """Who is to be a superuser; who is in a secret's hands, so nothing of it is shown."""

    username: Secret[str]
    email: Secret[str]
    password: Secret[str]


def read_account(secret: Document) -> Account:
    """The secret's ``superuser_*``, once Django's password validators have accepted it.

    Raises:
        SecretIncomplete: the secret has none.
        Refused: the password is not good enough.
    """
    missing = [key for key in REQUIRED if key not in secret or not secret[key].reveal()]
    if missing:
        raise SecretIncomplete(
            f"The secret has no {' and no '.join(missing)}, so there is nobody to make a superuser of.",
            hint="Write them into a JSON file (superuser_email, too) and run: python manage.py sync_secrets FILE",
            keys=missing,
        )
    email = str(secret["superuser_email"].reveal()) if "superuser_email" in secret else ""
    username, password = (str(secret[key].reveal()) for key in REQUIRED)
    account = Account(Secret(username), Secret(email), Secret(password))
    _validate(account)
    return account


def _validate(account: Account) -> None:
    user = get_user_model()(**_fields(account))
    try:
        validate_password(account.password.reveal(), user)
    except ValidationError as error:
        raise Refused(
            f"The superuser_password in the secret is not good enough. {' '.join(error.messages)}",
            hint="Put a better one into a JSON file and run: python manage.py sync_secrets FILE",
        ) from None


def _fields(account: Account) -> dict[str, Any]:
    model = get_user_model()
    names = [model.USERNAME_FIELD, model.get_email_field_name()]
    return dict(zip(names, (account.username.reveal(), account.email.reveal()), strict=True))


def has_superuser(login: Login, database: str, account: Account) -> bool:
    """Whether there is one of that name.

    Raises:
        Refused: there is a user of that name who is no superuser.
    """
    model = get_user_model()
    with pointed_at(login, database):
        try:
            found = model._default_manager.filter(**{model.USERNAME_FIELD: account.username.reveal()}).first()
        except ProgrammingError:  # It has no tables yet.
            return False
        except Error as error:
            raise DatabaseError(
                f"{database} did not say whether it has the superuser: {type(error).__name__}.", hint="Run it again."
            ) from None
    if found is not None and not getattr(found, "is_superuser", False):
        raise Refused(
            f"{database} has a user of the secret's superuser_username who is no superuser; nothing was changed.",
            hint=f"Look at it: DATABASE_NAME={database} python manage.py shell; or give another superuser_username.",
        )
    return found is not None


def make_superuser(login: Login, database: str, account: Account) -> None:
    """Make it, as ``createsuperuser`` does, where there is none of its name."""
    if has_superuser(login, database, account):
        return
    manager: Any = get_user_model()._default_manager
    with pointed_at(login, database):
        try:
            manager.create_superuser(**_fields(account), password=account.password.reveal())
        except Error as error:
            raise DatabaseError(
                f"No superuser could be made in {database}: {type(error).__name__}.",
                hint="Does it have its tables? Run: python manage.py migrate_tenants",
            ) from None


def with_superusers(plan: DatabasePlan, has_one: Callable[[Tenant], bool]) -> DatabasePlan:
    """`plan`, with the step for each tenant that lacks a superuser, last.

    A tenant whose login or database `plan` has yet to make or mend is looked at when the step is carried out.

    Args:
        has_one: looks into a tenant's database; what it raises is in the way of that tenant only.
    """

    def one(tenant: TenantPlan) -> TenantPlan:
        if tenant.obstacle:
            return tenant
        is_settled = not any(isinstance(step, BEFORE_A_LOGIN) for step in (*plan.role_steps, *tenant.steps))
        try:
            if is_settled and has_one(tenant.tenant):
                return tenant
        except DeployError as obstacle:
            return replace(tenant, steps=(), obstacle=obstacle)
        return replace(tenant, steps=(*tenant.steps, MakeSuperuser(tenant.tenant.name)))

    return replace(plan, tenants=tuple(map(one, plan.tenants)))
