"""Members (people with an account), prospects (people without) and their agreements to the terms of use."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from user.models.address import PostalAddress


class Member(models.Model):
    """The profile of an account. It is deleted with the account; orders are kept."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="member")
    phone_number = models.CharField(max_length=30, blank=True)
    newsletter_subscriber = models.BooleanField(default=False)
    email_verified = models.BooleanField(default=False)
    email_unsubscribed = models.BooleanField(default=False)
    email_unsubscribe_token = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    stripe_customer_token = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    terms_of_use_versions = models.ManyToManyField(
        "user.TermsOfUseVersion", through="user.MemberTermsOfUseVersionAgreed", related_name="members"
    )

    class Meta:
        ordering = ("-created_at", "-pk")
        indexes = (models.Index(fields=["-created_at"], name="user_member_created"),)
        constraints = (
            models.CheckConstraint(
                condition=~Q(newsletter_subscriber=True, email_unsubscribed=True),
                name="user_member_one_wish",
                violation_error_message="A member who unsubscribed cannot be a newsletter subscriber.",
            ),
            models.UniqueConstraint(
                fields=["stripe_customer_token"],
                condition=~Q(stripe_customer_token=""),
                name="user_member_stripe_customer_unique",
            ),
        )

    def __str__(self) -> str:
        return self.user.get_full_name() or self.user.get_username()


class Prospect(models.Model):
    """A person without an account who asked a question, subscribed to the newsletter or ordered as a guest."""

    email = models.EmailField()
    first_name = models.CharField(max_length=60, blank=True)
    last_name = models.CharField(max_length=60, blank=True)
    phone_number = models.CharField(max_length=30, blank=True)
    comment = models.CharField(max_length=255, blank=True)
    email_unsubscribed = models.BooleanField(default=False)
    email_unsubscribe_token = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    converted_to = models.OneToOneField(
        Member,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="prospect",
        help_text="The member account of this person.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-created_at", "-pk")
        indexes = (models.Index(fields=["-created_at"], name="user_prospect_created"),)
        constraints = (
            models.UniqueConstraint(Lower("email"), name="user_prospect_email_unique"),
            models.CheckConstraint(condition=~Q(email=""), name="user_prospect_has_email"),
        )

    def __str__(self) -> str:
        return self.email


class DefaultShippingAddress(PostalAddress):
    """The default shipping address of a member."""

    member = models.OneToOneField(Member, on_delete=models.CASCADE, related_name="default_shipping_address")

    class Meta(PostalAddress.Meta):
        db_table = "user_default_shipping_address"
        verbose_name_plural = "default shipping addresses"


class TermsOfUseVersion(models.Model):
    """A published version of the terms of use."""

    version = models.CharField(max_length=20)
    note = models.CharField(max_length=255, blank=True)
    published_at = models.DateTimeField(unique=True)

    class Meta:
        db_table = "user_terms_of_use_version"
        ordering = ("-published_at",)
        verbose_name = "terms of use version"
        constraints = (
            models.UniqueConstraint(Lower("version"), name="user_terms_version_unique"),
            models.CheckConstraint(condition=~Q(version=""), name="user_terms_has_version"),
        )

    def __str__(self) -> str:
        return self.version


class MemberTermsOfUseVersionAgreed(models.Model):
    """The agreement of a member to a version of the terms of use, which cannot be deleted afterwards."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="agreements")
    version = models.ForeignKey(TermsOfUseVersion, on_delete=models.PROTECT, related_name="agreements")
    agreed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "user_member_terms_of_use_version_agreed"
        verbose_name = "agreement to the terms of use"
        verbose_name_plural = "agreements to the terms of use"
        constraints = (models.UniqueConstraint(fields=["member", "version"], name="user_agreement_unique"),)

    def __str__(self) -> str:
        return f"{self.version} agreed {self.agreed_at:%Y-%m-%d}"


class UnsubscribeReason(models.TextChoices):
    """Reasons offered by the unsubscribe form."""

    NO_LONGER_WANTED = "no-longer-wanted", "No longer wants these emails"
    NEVER_SIGNED_UP = "never-signed-up", "Never signed up"
    INAPPROPRIATE = "inappropriate", "The emails are inappropriate"
    SPAM = "spam", "The emails are spam"
    OTHER = "other", "Other"


class EmailUnsubscribeReason(models.Model):
    """The reason why a person unsubscribed from emails."""

    member = models.ForeignKey(
        Member, on_delete=models.CASCADE, null=True, blank=True, related_name="unsubscribe_reasons"
    )
    prospect = models.ForeignKey(
        Prospect, on_delete=models.CASCADE, null=True, blank=True, related_name="unsubscribe_reasons"
    )
    reason = models.CharField(max_length=20, choices=UnsubscribeReason)
    comment = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "user_email_unsubscribe_reasons"
        ordering = ("-created_at", "-pk")
        indexes = (models.Index(fields=["-created_at"], name="user_unsubscribe_reason_at"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(member__isnull=True) ^ Q(prospect__isnull=True), name="user_unsubscribe_reason_one_person"
            ),
            models.CheckConstraint(
                condition=Q(reason__in=UnsubscribeReason.values),
                name="user_unsubscribe_reason_known",
            ),
        )

    def __str__(self) -> str:
        return self.get_reason_display()
