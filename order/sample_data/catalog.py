"""The sample catalog. All keys start with SMP, so that sample rows can be distinguished from real ones."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class SampleSku:
    """A SKU: code, color, size, price in dollars, quantity in stock (None: always available)."""

    code: str
    color: str
    size: str
    price: str
    quantity: int | None
    image: str = ""

    @property
    def is_back_orderable(self) -> bool:
        """Return whether customers can order the SKU while it is out of stock."""
        return self.quantity == 0


@dataclass(frozen=True)
class SampleProduct:
    """A product, its image (in ``order/products/``) and its SKUs."""

    identifier: str
    title: str
    headline: str
    description: str
    image: str
    alternative_text: str
    skus: tuple[SampleSku, ...]
    type: str = "goods"
    is_published: bool = True


#: Euros per dollar in the sample data.
EURO = Decimal("0.92")

PRODUCTS = (
    SampleProduct(
        "SMP-mug",
        "Stoneware mug",
        "Holds 350 ml and survives the dishwasher",
        "Thrown by hand from dark clay and glazed twice, so that no two look quite the same.\n\n"
        "The handle takes four fingers.",
        "mug",
        "A green mug with a round handle, full of coffee",
        (
            SampleSku("SMP-MUG-GREEN", "Green", "350 ml", "18.00", 42, "swatch-green"),
            SampleSku("SMP-MUG-SAND", "Sand", "350 ml", "18.00", 3, "swatch-sand"),
        ),
    ),
    SampleProduct(
        "SMP-shirt",
        "Launch-day T-shirt",
        "Organic cotton, cut straight, printed in-house",
        "A heavy T-shirt that keeps its shape. Washed once before it is printed, so it does not shrink.",
        "shirt",
        "A blue T-shirt with a pennant on the chest",
        (
            SampleSku("SMP-SHIRT-BLUE-S", "Blue", "S", "26.00", 12, "swatch-blue"),
            SampleSku("SMP-SHIRT-BLUE-M", "Blue", "M", "26.00", 20, "swatch-blue"),
            SampleSku("SMP-SHIRT-BLUE-L", "Blue", "L", "26.00", 0, "swatch-blue"),
            SampleSku("SMP-SHIRT-WHITE-M", "White", "M", "24.00", 17, "swatch-white"),
        ),
    ),
    SampleProduct(
        "SMP-notebook",
        "Field notebook",
        "160 dotted pages that lie flat",
        "Thread-bound, with a ribbon and a pocket for receipts. The paper takes fountain pens.",
        "notebook",
        "A red notebook with a yellow ribbon",
        (SampleSku("SMP-NOTEBOOK-A5", "", "A5", "14.50", 88), SampleSku("SMP-NOTEBOOK-A4", "", "A4", "19.50", 31)),
    ),
    SampleProduct(
        "SMP-backpack",
        "Commuter backpack",
        "22 liters, one laptop, no dangling straps",
        "Waxed canvas with a padded back. Fits a 16-inch laptop, lunch and a rain jacket.",
        "backpack",
        "A violet backpack with one large pocket",
        (SampleSku("SMP-BACKPACK", "Violet", "22 l", "89.00", 9),),
    ),
    SampleProduct(
        "SMP-bottle",
        "Insulated bottle",
        "Cold for a day, hot for half of one",
        "Double-walled steel with a lid that can be taken apart and cleaned.",
        "bottle",
        "A blue bottle with a drop on its label",
        (SampleSku("SMP-BOTTLE-500", "", "500 ml", "29.00", 54), SampleSku("SMP-BOTTLE-750", "", "750 ml", "34.00", 2)),
    ),
    SampleProduct(
        "SMP-lamp",
        "Desk lamp",
        "Warm light exactly where you look",
        "Two joints, a heavy foot and a dimmer. The bulb can be replaced.",
        "lamp",
        "A lamp with a red shade throwing yellow light",
        (SampleSku("SMP-LAMP", "Red", "", "74.90", 6),),
    ),
    SampleProduct(
        "SMP-headphones",
        "Open-plan headphones",
        "For work among people who talk",
        "Closed, light, and repairable: cushions, cable and battery come as spare parts.",
        "headphones",
        "Headphones with red cups",
        (SampleSku("SMP-HEADPHONES", "Red", "", "149.00", 0),),
    ),
    SampleProduct(
        "SMP-coffee",
        "House coffee",
        "Chocolate, hazelnut, no bitterness",
        "Roasted on Tuesdays, sent on Wednesdays. Whole beans, from two farms in Huila.",
        "coffee",
        "A brown bag of coffee with a bean on its label",
        (SampleSku("SMP-COFFEE-250", "", "250 g", "12.00", 120), SampleSku("SMP-COFFEE-1000", "", "1 kg", "38.00", 25)),
    ),
    SampleProduct(
        "SMP-plant",
        "Unkillable plant",
        "Likes shade, forgives holidays",
        "Water it when you remember. It comes in its clay pot.",
        "plant",
        "A plant with three large leaves in a clay pot",
        (SampleSku("SMP-PLANT", "", "30 cm", "22.00", 14),),
    ),
    SampleProduct(
        "SMP-blanket",
        "Merino blanket",
        "For the office that is always a degree too cold",
        "Woven from recycled merino. 130 by 180 cm.",
        "blanket",
        "Three folded blankets in shades of red",
        (SampleSku("SMP-BLANKET", "Rose", "130 × 180 cm", "96.00", 7),),
    ),
    SampleProduct(
        "SMP-poster",
        "Mountain poster",
        "A print, or the file to print yourself",
        "Four colors on heavy paper. The file has 300 dots to the inch.",
        "poster",
        "A framed print of mountains below an orange sun",
        (SampleSku("SMP-POSTER-A2", "", "A2", "32.00", 40),),
    ),
    SampleProduct(
        "SMP-workshop",
        "Launch workshop, recorded",
        "Three hours from an empty repository to a first customer",
        "Eleven chapters, slides and the code. Yours for good.",
        "workshop",
        "A laptop that shows a video with slides",
        (SampleSku("SMP-WORKSHOP", "", "Download", "59.00", None),),
        type="download",
    ),
    SampleProduct(
        "SMP-calendar",
        "Wall calendar",
        "Twelve harbors, next year",
        "Still at the printer's.",
        "poster",
        "A framed print of mountains below an orange sun",
        (SampleSku("SMP-CALENDAR", "", "A3", "21.00", 0),),
        is_published=False,
    ),
)


@dataclass(frozen=True)
class SampleCode:
    """A discount code. The type determines whether `value` is a percentage or an amount in dollars."""

    code: str
    type: str
    description: str
    value: str | None = None
    minimum: str = "0.00"
    is_over: bool = False


CODES = (
    SampleCode("SMP-WELCOME10", "percent-off", "10 percent off the first order", "10"),
    SampleCode("SMP-FIVER", "amount-off", "5 dollars off orders of 30 dollars or more", "5.00", "30.00"),
    SampleCode("SMP-SHIPFREE", "free-shipping", "Free shipping for orders of 50 dollars or more", None, "50.00"),
    SampleCode("SMP-SPRING25", "percent-off", "25 percent off, expired", "25", is_over=True),
)
