"""The admin of client events. Events are read-only."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin

from clientevent.models import AjaxError, ButtonClick, Configuration, Linkevent, Pageview
from user.admin_classes import ModelAdmin, ReadOnly


class EventAdmin(ReadOnly, ModelAdmin):
    """Events, newest first. The list does not count all rows, because the tables can be large."""

    list_filter = ("created_at",)
    list_select_related: ClassVar[tuple[str, ...]] = ("member__user",)
    search_fields = ("url",)
    show_full_result_count = False


@admin.register(Pageview)
class PageviewAdmin(EventAdmin):
    """Page views."""

    list_display = ("url", "member", "page_width", "created_at")


@admin.register(AjaxError)
class AjaxErrorAdmin(EventAdmin):
    """Failed requests."""

    list_display = ("error_id", "url", "member", "created_at")


@admin.register(ButtonClick)
class ButtonClickAdmin(EventAdmin):
    """Button clicks."""

    list_display = ("button_id", "url", "member", "created_at")


@admin.register(Linkevent)
class LinkeventAdmin(EventAdmin):
    """Visits through a link in an email or advertisement."""

    list_display = ("url", "member", "prospect", "email", "ad", "created_at")
    list_select_related = ("member__user", "prospect", "email", "ad")


@admin.register(Configuration)
class ConfigurationAdmin(ModelAdmin):
    """Configuration of the recording."""

    list_display = ("key", "value", "description")
