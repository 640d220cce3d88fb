"""URLs and rows for tests of the admin."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.urls import reverse

from clientevent import models as clientevent
from tests.shop.builders import make
from tests.shop.tables import FIXED
from user import models as user

READ_ONLY = [
    user.EmailSent,
    user.EmailUnsubscribeReason,
    clientevent.Pageview,
    clientevent.AjaxError,
    clientevent.ButtonClick,
    clientevent.Linkevent,
]


def admin_url(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def get_row(model: type[Model]) -> Any:
    """Return a row of `model`; of a fixed set, an existing one."""
    return (model in FIXED and model._default_manager.first()) or make(model)
