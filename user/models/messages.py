"""Emails, advertisements and chat messages."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone

from user.models.people import Member, Prospect
from user.models.reference import ReferenceRow


class EmailType(ReferenceRow):
    """The recipients of an email: members or prospects."""

    class Meta(ReferenceRow.Meta):
        db_table = "user_email_type"


class EmailState(models.TextChoices):
    """States of an email."""

    DRAFT = "draft", "Draft"
    READY = "ready", "Ready"
    SENT = "sent", "Sent"


class EmailStatus(ReferenceRow):
    """The title of an email state."""

    class Meta(ReferenceRow.Meta):
        db_table = "user_email_status"
        verbose_name_plural = "email statuses"
        constraints = (
            models.CheckConstraint(condition=Q(identifier__in=EmailState.values), name="user_email_status_known"),
        )


class Email(models.Model):
    """The content of a mailing."""

    code = models.CharField(max_length=40, help_text="Identifies the mailing in links and reports.")
    type = models.ForeignKey(EmailType, on_delete=models.PROTECT, related_name="emails")
    status = models.ForeignKey(EmailStatus, on_delete=models.PROTECT, related_name="emails")
    subject = models.CharField(max_length=200)
    from_address = models.EmailField()
    body_text = models.TextField()
    body_html = models.TextField(blank=True)

    class Meta:
        ordering = ("code",)
        constraints = (
            models.UniqueConstraint(Lower("code"), name="user_email_code_unique"),
            models.CheckConstraint(condition=~Q(code=""), name="user_email_has_code"),
        )

    def __str__(self) -> str:
        return self.subject


class EmailSent(models.Model):
    """An email sent to one address. It is kept when the account is deleted, and protects the email from deletion."""

    email = models.ForeignKey(Email, on_delete=models.PROTECT, related_name="deliveries")
    member = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, blank=True, related_name="emails")
    prospect = models.ForeignKey(Prospect, on_delete=models.SET_NULL, null=True, blank=True, related_name="emails")
    address = models.EmailField()
    sent_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "user_email_sent"
        ordering = ("-sent_at", "-pk")
        verbose_name = "sent email"
        indexes = (models.Index(fields=["-sent_at"], name="user_email_sent_at"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(member__isnull=True) | Q(prospect__isnull=True), name="user_email_sent_one_person"
            ),
        )

    def __str__(self) -> str:
        return f"{self.email} to {self.address}"


class AdType(ReferenceRow):
    """The channel of an advertisement: search, display or social."""

    class Meta(ReferenceRow.Meta):
        db_table = "user_ad_type"


class AdState(models.TextChoices):
    """States of an advertisement."""

    PLANNED = "planned", "Planned"
    RUNNING = "running", "Running"
    FINISHED = "finished", "Finished"


class AdStatus(ReferenceRow):
    """The title of an advertisement state."""

    class Meta(ReferenceRow.Meta):
        db_table = "user_ad_status"
        verbose_name_plural = "ad statuses"
        constraints = (models.CheckConstraint(condition=Q(identifier__in=AdState.values), name="user_ad_status_known"),)


class Ad(models.Model):
    """An advertisement that links to the shop."""

    code = models.CharField(max_length=40, help_text="Identifies the advertisement in links and reports.")
    type = models.ForeignKey(AdType, on_delete=models.PROTECT, related_name="ads")
    status = models.ForeignKey(AdStatus, on_delete=models.PROTECT, related_name="ads")
    headline = models.CharField(max_length=120)
    final_url = models.URLField()
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("code",)
        constraints = (
            models.UniqueConstraint(Lower("code"), name="user_ad_code_unique"),
            models.CheckConstraint(condition=~Q(code=""), name="user_ad_has_code"),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(starts_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="user_ad_ends_after_start",
                violation_error_message="“Ends at” must be after “starts at”.",
            ),
        )

    def __str__(self) -> str:
        return self.headline


class ChatMessage(models.Model):
    """A question from a visitor."""

    member = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, blank=True, related_name="chat_messages")
    prospect = models.ForeignKey(
        Prospect, on_delete=models.SET_NULL, null=True, blank=True, related_name="chat_messages"
    )
    name = models.CharField(max_length=120, blank=True)
    email = models.EmailField(blank=True)
    message = models.TextField(max_length=5000)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "user_chat_message"
        ordering = ("-created_at", "-pk")
        indexes = (
            models.Index(fields=["-created_at"], name="user_chat_message_created"),
            models.Index(
                fields=["created_at"], condition=Q(answered_at__isnull=True), name="user_chat_message_unanswered"
            ),
        )
        constraints = (
            models.CheckConstraint(condition=~Q(message=""), name="user_chat_message_not_empty"),
            models.CheckConstraint(
                condition=Q(member__isnull=True) | Q(prospect__isnull=True), name="user_chat_message_one_person"
            ),
            models.CheckConstraint(
                condition=Q(answered_at__isnull=True) | Q(answered_at__gte=F("created_at")),
                name="user_chat_message_answered_after",
            ),
        )

    def __str__(self) -> str:
        return self.message[:60]
