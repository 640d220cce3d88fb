"""The admin of customers and of the messages sent to them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from user.admin_classes import ASSUME_HTTPS, FixedRows, ModelAdmin, ReadOnly, ReadOnlyInline, StackedInline
from user.admin_login import AdminLoginForm
from user.models import (
    Ad,
    AdStatus,
    AdType,
    ChatMessage,
    DefaultShippingAddress,
    Email,
    EmailSent,
    EmailStatus,
    EmailType,
    EmailUnsubscribeReason,
    Member,
    MemberTermsOfUseVersionAgreed,
    Prospect,
    TermsOfUseVersion,
)

admin.site.login_form = AdminLoginForm


class DefaultShippingAddressInline(StackedInline):
    model = DefaultShippingAddress
    extra = 0


class AgreementInline(ReadOnlyInline):
    model = MemberTermsOfUseVersionAgreed
    related = ("version",)


@admin.register(Member)
class MemberAdmin(ModelAdmin):
    """Members, newest first."""

    list_display = ("__str__", "email", "newsletter_subscriber", "email_verified", "order_count", "created_at")
    list_filter = ("newsletter_subscriber", "email_verified", "email_unsubscribed", "created_at")
    search_fields = ("user__first_name", "user__last_name", "user__email", "user__username", "phone_number")
    autocomplete_fields = ("user",)
    readonly_fields = ("created_at", "stripe_customer_token")
    ordering = ("-created_at", "-pk")  # The annotation drops the model's ordering, and autocomplete requires one.
    inlines = (DefaultShippingAddressInline, AgreementInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        """Return members with their account and the number of their orders."""
        members: QuerySet[Member] = super().get_queryset(request).select_related("user")
        return members.annotate(order_count=Count("orders"))

    @admin.display(description="email", ordering="user__email")
    def email(self, member: Member) -> str:
        """Return the email address of the account."""
        return member.user.email

    @admin.display(description="orders", ordering="order_count")
    def order_count(self, member: Any) -> int:
        """Return the number of orders."""
        count: int = member.order_count
        return count


@admin.register(Prospect)
class ProspectAdmin(ModelAdmin):
    """People without an account."""

    list_display = ("email", "first_name", "last_name", "email_unsubscribed", "converted_to", "created_at")
    list_filter = ("email_unsubscribed", "created_at")
    list_select_related = ("converted_to__user",)
    search_fields = ("email", "first_name", "last_name")
    autocomplete_fields = ("converted_to",)


@admin.register(TermsOfUseVersion)
class TermsOfUseVersionAdmin(ModelAdmin):
    """Versions of the terms of use, newest first."""

    list_display = ("version", "note", "published_at")


@admin.register(Email)
class EmailAdmin(ModelAdmin):
    """Mailings."""

    list_display = ("code", "subject", "type", "status")
    list_filter = ("status", "type")
    list_select_related = ("type", "status")
    search_fields = ("code", "subject")


@admin.register(EmailSent)
class EmailSentAdmin(ReadOnly, ModelAdmin):
    """Sent emails."""

    list_display = ("email", "address", "member", "prospect", "sent_at")
    list_filter = ("sent_at",)
    list_select_related = ("email", "member__user", "prospect")
    search_fields = ("address", "email__code")


@admin.register(Ad)
class AdAdmin(ModelAdmin):
    """Advertisements."""

    formfield_overrides = ASSUME_HTTPS
    list_display = ("code", "headline", "type", "status", "starts_at", "ends_at")
    list_filter = ("status", "type")
    list_select_related = ("type", "status")
    search_fields = ("code", "headline")


@admin.register(ChatMessage)
class ChatMessageAdmin(ModelAdmin):
    """Chat messages, with the time of the answer."""

    list_display = ("__str__", "member", "prospect", "email", "created_at", "answered_at")
    list_filter = (("answered_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("member__user", "prospect")
    search_fields = ("message", "email", "name")
    autocomplete_fields = ("member", "prospect")


@admin.register(EmailUnsubscribeReason)
class EmailUnsubscribeReasonAdmin(ReadOnly, ModelAdmin):
    """Reasons for unsubscribing."""

    list_display = ("reason", "member", "prospect", "comment", "created_at")
    list_filter = ("reason", "created_at")
    list_select_related = ("member__user", "prospect")


@admin.register(EmailStatus, AdStatus)
class StatusAdmin(FixedRows):
    """Titles of the statuses of emails and advertisements."""


@admin.register(EmailType, AdType)
class ReferenceAdmin(ModelAdmin):
    """Types of emails and advertisements."""

    list_display = ("title", "identifier", "description")
    search_fields = ("title", "identifier")
