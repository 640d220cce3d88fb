"""What goes, what stays and what forbids it, for each relation: chosen here, and then tried."""

from __future__ import annotations

import pytest
from django.db.models import CASCADE, PROTECT, SET_NULL, ForeignKey, ProtectedError

from tests.shop.builders import make
from tests.shop.test_tables import CLOSED, MODELS

pytestmark = pytest.mark.django_db

WANTED = {
    # Goes with it: parts of something, and what has no sense without its owner.
    CASCADE: """
        user.Member.user user.DefaultShippingAddress.member user.MemberTermsOfUseVersionAgreed.member
        user.EmailUnsubscribeReason.member user.EmailUnsubscribeReason.prospect
        order.ProductImage.product order.ProductVideo.product order.ProductSku.product order.ProductSku.sku
        order.SkuInventory.sku order.SkuPrice.sku order.SkuImage.sku
        order.Cart.member order.CartSku.cart order.CartSku.sku order.CartShippingAddress.cart order.CartPayment.cart
        order.CartDiscount.cart order.CartDiscount.discount_code
        order.CartShippingMethod.cart order.CartShippingMethod.shipping_method
        order.OrderSku.order order.OrderDiscount.order order.OrderShippingMethod.order
        order.OrderShippingAddress.order order.OrderBillingAddress.order order.OrderStatus.order
    """,
    # Forbids it: evidence, the books, and rows that give others their meaning.
    PROTECT: """
        user.MemberTermsOfUseVersionAgreed.version user.Email.type user.Email.status user.EmailSent.email
        user.Ad.type user.Ad.status order.Sku.type order.DiscountCode.type order.OrderSku.sku
        order.OrderDiscount.discount_code order.OrderShippingMethod.shipping_method order.OrderPayment.order
        order.OrderStatus.status
    """,
    # Stays without it: what happened, whoever it was.
    SET_NULL: """
        user.Prospect.converted_to user.EmailSent.member user.EmailSent.prospect
        user.ChatMessage.member user.ChatMessage.prospect order.Order.member order.Order.prospect
        clientevent.Pageview.member clientevent.AjaxError.member clientevent.ButtonClick.member
        clientevent.Linkevent.member clientevent.Linkevent.prospect clientevent.Linkevent.email clientevent.Linkevent.ad
    """,
}
RELATIONS = {
    f"{model._meta.label}.{field.name}": (model, field)
    for model in MODELS
    for field in model._meta.fields
    if isinstance(field, ForeignKey)
}


def test_every_relation_is_chosen():
    chosen = {name: rule for rule, names in WANTED.items() for name in names.split()}
    assert {name: field.remote_field.on_delete for name, (_, field) in RELATIONS.items()} == chosen


@pytest.mark.parametrize("name", sorted(RELATIONS))
def test_deleting_what_a_row_refers_to(name):
    model, field = RELATIONS[name]
    row = make(model)
    target = getattr(row, field.name)
    if target is None:
        target = make(field.related_model)
        row = make(model, **{field.name: target})
    assert field.related_model not in CLOSED or field.remote_field.on_delete is PROTECT

    if field.remote_field.on_delete is PROTECT:
        with pytest.raises(ProtectedError):
            target.delete()
        assert model._default_manager.filter(pk=row.pk).exists()
    else:
        target.delete()
        found = model._default_manager.filter(pk=row.pk).first()
        assert (found is None) == (field.remote_field.on_delete is CASCADE)
        assert found is None or getattr(found, field.attname) is None
