"""What browsers report: pages seen, buttons and links clicked, requests that failed (5 tables).

Events have no address and no name of their own; they lose their member when the account goes, and stay countable.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from StartupWebApp.reference import ConfigurationRow
from user.models import Ad, Email, Member, Prospect


class Configuration(ConfigurationRow):
    """What is recorded, and for how long."""

    class Meta(ConfigurationRow.Meta):
        pass


class ClientEvent(models.Model):
    """The columns of every event."""

    member = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, blank=True, related_name="%(class)s_set")
    anonymous_id = models.UUIDField(null=True, blank=True, help_text="The visitor's cookie, where there is no member.")
    url = models.CharField(max_length=500)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True
        ordering = ("-created_at", "-pk")
        indexes = (models.Index(fields=["-created_at"], name="%(app_label)s_%(class)s_at"),)
        constraints: ClassVar[tuple[models.BaseConstraint, ...]] = (
            models.CheckConstraint(condition=~models.Q(url=""), name="%(app_label)s_%(class)s_has_url"),
        )

    def __str__(self) -> str:
        return f"{self.url} at {self.created_at:%Y-%m-%d %H:%M}"


class Pageview(ClientEvent):
    """A page was shown."""

    page_width = models.PositiveIntegerField(null=True, blank=True, help_text="Of the window, in CSS pixels.")
    user_agent = models.CharField(max_length=500, blank=True)

    class Meta(ClientEvent.Meta):
        pass


class AjaxError(ClientEvent):
    """A request from a script failed."""

    error_id = models.CharField(max_length=100)

    class Meta(ClientEvent.Meta):
        db_table = "clientevent_ajax_error"
        verbose_name = "Ajax error"


class ButtonClick(ClientEvent):
    """A button was pressed."""

    button_id = models.CharField(max_length=100)

    class Meta(ClientEvent.Meta):
        db_table = "clientevent_button_click"


class Linkevent(ClientEvent):
    """Somebody came by a link of ours: from an email, or from an advertisement."""

    prospect = models.ForeignKey(Prospect, on_delete=models.SET_NULL, null=True, blank=True, related_name="link_events")
    email = models.ForeignKey(Email, on_delete=models.SET_NULL, null=True, blank=True, related_name="link_events")
    ad = models.ForeignKey(Ad, on_delete=models.SET_NULL, null=True, blank=True, related_name="link_events")

    class Meta(ClientEvent.Meta):
        verbose_name = "link event"
        constraints = (
            *ClientEvent.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(email__isnull=True) | models.Q(ad__isnull=True),
                name="clientevent_linkevent_one_source",
            ),
        )
