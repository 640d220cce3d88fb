"""Sample customers, carts and orders."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from order.models import CartState, OrderState, PaymentState

Lines = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class SamplePerson:
    """A person with an account (a member) or without (a prospect)."""

    first_name: str
    last_name: str
    line1: str
    city: str
    region: str
    postal_code: str
    country: str = "US"
    is_subscriber: bool = False

    @property
    def email(self) -> str:
        """Return an address in a domain that RFC 2606 reserves for examples."""
        return f"{self.first_name}.{self.last_name}@sample.example.com".lower()

    @property
    def address(self) -> dict[str, str]:
        """Return the columns of a `PostalAddress`."""
        names = ("line1", "city", "region", "postal_code", "country")
        return {"name": f"{self.first_name} {self.last_name}", **{name: getattr(self, name) for name in names}}


MEMBERS = (
    SamplePerson("Mara", "Okafor", "12 Larch Street", "Portland", "OR", "97205", is_subscriber=True),
    SamplePerson("Jonas", "Lindqvist", "480 Harbor Avenue", "Duluth", "MN", "55802"),
    SamplePerson("Priya", "Raman", "77 Juniper Court", "Austin", "TX", "78704", is_subscriber=True),
    SamplePerson("Tomás", "Ibarra", "9 Mission Road", "Tucson", "AZ", "85701"),
    SamplePerson("Hana", "Suzuki", "3155 Maple Terrace", "Seattle", "WA", "98101", is_subscriber=True),
    SamplePerson("Elise", "Moreau", "4 rue des Tanneurs", "Lyon", "", "69001", "FR"),
)
PROSPECTS = (
    SamplePerson("Gil", "Adams", "21 Depot Lane", "Burlington", "VT", "05401"),
    SamplePerson("Noor", "Haddad", "600 Lake Drive", "Madison", "WI", "53703"),
)


@dataclass(frozen=True)
class SampleCart:
    """A cart. The owner is the first name of a member, or the cookie of an anonymous visitor."""

    owner: str | UUID
    state: CartState
    lines: Lines
    code: str | None = None
    days_ago: int = 0


CARTS = (
    SampleCart("Mara", CartState.OPEN, (("SMP-MUG-GREEN", 2), ("SMP-COFFEE-250", 1)), "SMP-WELCOME10"),
    SampleCart("Hana", CartState.OPEN, (("SMP-LAMP", 1),), None, 1),
    SampleCart("Jonas", CartState.ORDERED, (("SMP-BACKPACK", 1), ("SMP-BOTTLE-500", 1)), None, 2),
    SampleCart("Tomás", CartState.ABANDONED, (("SMP-HEADPHONES", 1),), None, 60),
    SampleCart(UUID("5a5a0000-0000-4000-8000-000000000001"), CartState.OPEN, (("SMP-PLANT", 3),)),
)


@dataclass(frozen=True)
class SampleOrder:
    """An order in the state of its last status. The customer is the first name of a member or a prospect."""

    identifier: str
    customer: str
    lines: Lines
    statuses: tuple[OrderState, ...]
    payment: PaymentState
    days_ago: int
    shipping: str = "standard"
    code: str | None = None


_PAID = (OrderState.PLACED, OrderState.PAID)
_SHIPPED = (*_PAID, OrderState.PACKED, OrderState.SHIPPED)
_DELIVERED = (*_SHIPPED, OrderState.DELIVERED)

ORDERS = (
    SampleOrder(
        "SMP-1001", "Mara", (("SMP-MUG-SAND", 1),), _DELIVERED, PaymentState.CAPTURED, 74, code="SMP-WELCOME10"
    ),
    SampleOrder(
        "SMP-1002", "Gil", (("SMP-BOTTLE-750", 1), ("SMP-COFFEE-250", 2)), _DELIVERED, PaymentState.CAPTURED, 58
    ),
    SampleOrder(
        "SMP-1003",
        "Priya",
        (("SMP-SHIRT-BLUE-S", 1), ("SMP-SHIRT-WHITE-M", 1)),
        (*_DELIVERED, OrderState.REFUNDED),
        PaymentState.REFUNDED,
        41,
    ),
    SampleOrder(
        "SMP-1004",
        "Tomás",
        (("SMP-HEADPHONES", 1),),
        (OrderState.PLACED, OrderState.CANCELLED),
        PaymentState.FAILED,
        30,
        "express",
    ),
    SampleOrder(
        "SMP-1005", "Hana", (("SMP-WORKSHOP", 1),), (*_PAID, OrderState.DELIVERED), PaymentState.CAPTURED, 12, "pickup"
    ),
    SampleOrder(
        "SMP-1006",
        "Elise",
        (("SMP-BLANKET", 1), ("SMP-NOTEBOOK-A5", 2)),
        _SHIPPED,
        PaymentState.CAPTURED,
        5,
        "express",
        "SMP-SHIPFREE",
    ),
    SampleOrder(
        "SMP-1007",
        "Jonas",
        (("SMP-BACKPACK", 1), ("SMP-BOTTLE-500", 1)),
        (*_PAID, OrderState.PACKED),
        PaymentState.CAPTURED,
        4,
    ),
    SampleOrder("SMP-1008", "Mara", (("SMP-NOTEBOOK-A4", 2),), _PAID, PaymentState.CAPTURED, 3, code="SMP-FIVER"),
    SampleOrder(
        "SMP-1009", "Noor", (("SMP-POSTER-A2", 1), ("SMP-PLANT", 1)), (OrderState.PLACED,), PaymentState.AUTHORIZED, 2
    ),
)
