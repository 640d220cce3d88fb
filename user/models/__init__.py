"""The models of `user` (14 tables)."""

from __future__ import annotations

from user.models.messages import Ad, AdStatus, AdType, ChatMessage, Email, EmailSent, EmailStatus, EmailType
from user.models.people import (
    DefaultShippingAddress,
    EmailUnsubscribeReason,
    Member,
    MemberTermsOfUseVersionAgreed,
    Prospect,
    TermsOfUseVersion,
    UnsubscribeReason,
)

__all__ = [
    "Ad",
    "AdStatus",
    "AdType",
    "ChatMessage",
    "DefaultShippingAddress",
    "Email",
    "EmailSent",
    "EmailStatus",
    "EmailType",
    "EmailUnsubscribeReason",
    "Member",
    "MemberTermsOfUseVersionAgreed",
    "Prospect",
    "TermsOfUseVersion",
    "UnsubscribeReason",
]
