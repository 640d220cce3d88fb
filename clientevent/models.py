"""Events that browsers report: page views, clicks, link visits, failed requests (5 tables).

Events are kept, without the member, when an account is deleted.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from user.models import Ad, Email, Member, Prospect
from user.models.reference import ConfigurationRow


class Configuration(ConfigurationRow):
    """Configuration: which events are recorded and for how long."""

    class Meta(ConfigurationRow.Meta):
        pass


class ClientEvent(models.Model):
    """The columns of all events."""

    member = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, blank=True, related_name="%(class)s_set")
    anonymous_id = models.UUIDField(null=True, blank=True, help_text="The visitor's cookie, if there is no member.")
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
    """A page view."""

    page_width = models.PositiveIntegerField(null=True, blank=True, help_text="Width of the window in CSS pixels.")
    user_agent = models.CharField(max_length=500, blank=True)

    class Meta(ClientEvent.Meta):
        pass


class AjaxError(ClientEvent):
    """A failed request of a script."""

    error_id = models.CharField(max_length=100)

    class Meta(ClientEvent.Meta):
        db_table = "clientevent_ajax_error"
        verbose_name = "Ajax error"


class ButtonClick(ClientEvent):
    """A click on a button."""

    button_id = models.CharField(max_length=100)

    class Meta(ClientEvent.Meta):
        db_table = "clientevent_button_click"


class Linkevent(ClientEvent):
    """A visit through a link in an email or advertisement."""

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
