"""The models of `user` (14 tables)."""

from __future__ import annotations

from user.models.messages import (
    Ad,
    AdState,
    AdStatus,
    AdType,
    ChatMessage,
    Email,
    EmailSent,
    EmailState,
    EmailStatus,
    EmailType,
)
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
    "AdState",
    "AdStatus",
    "AdType",
    "ChatMessage",
    "DefaultShippingAddress",
    "Email",
    "EmailSent",
    "EmailState",
    "EmailStatus",
    "EmailType",
    "EmailUnsubscribeReason",
    "Member",
    "MemberTermsOfUseVersionAgreed",
    "Prospect",
    "TermsOfUseVersion",
    "UnsubscribeReason",
]
