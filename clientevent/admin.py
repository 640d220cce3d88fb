"""The shopkeeper's side of `clientevent`: what browsers reported, to look at."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin

from clientevent.models import AjaxError, ButtonClick, Configuration, Linkevent, Pageview
from StartupWebApp.shopkeeping import ModelAdmin, ReadOnly


class EventAdmin(ReadOnly, ModelAdmin):
    """Events, the newest first. The table grows fast: the list does not count all of it."""

    list_filter = ("created_at",)
    list_select_related: ClassVar[tuple[str, ...]] = ("member__user",)
    search_fields = ("url",)
    show_full_result_count = False


@admin.register(Pageview)
class PageviewAdmin(EventAdmin):
    """Pages seen."""

    list_display = ("url", "member", "page_width", "created_at")


@admin.register(AjaxError)
class AjaxErrorAdmin(EventAdmin):
    """Requests that failed."""

    list_display = ("error_id", "url", "member", "created_at")


@admin.register(ButtonClick)
class ButtonClickAdmin(EventAdmin):
    """Buttons pressed."""

    list_display = ("button_id", "url", "member", "created_at")


@admin.register(Linkevent)
class LinkeventAdmin(EventAdmin):
    """Visits by a link of ours."""

    list_display = ("url", "member", "prospect", "email", "ad", "created_at")
    list_select_related = ("member__user", "prospect", "email", "ad")


@admin.register(Configuration)
class ConfigurationAdmin(ModelAdmin):
    """What is recorded."""

    list_display = ("key", "value", "description")
