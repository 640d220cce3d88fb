"""The behavior of each foreign key when the referenced row is deleted."""

from __future__ import annotations

import pytest
from django.db.models import CASCADE, PROTECT, SET_NULL, ForeignKey, ProtectedError

from tests.shop.builders import make
from tests.shop.tables import FIXED, MODELS

pytestmark = pytest.mark.django_db

EXPECTED = {
    # Rows that belong to the referenced row.
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
    # Agreements, payments, sold items and reference rows.
    PROTECT: """
        user.MemberTermsOfUseVersionAgreed.version user.Email.type user.Email.status user.EmailSent.email
        user.Ad.type user.Ad.status order.Sku.type order.DiscountCode.type order.OrderSku.sku
        order.OrderDiscount.discount_code order.OrderShippingMethod.shipping_method order.OrderPayment.order
        order.OrderStatus.status
    """,
    # Records that are kept when the person is deleted.
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


def test_every_foreign_key_is_listed():
    expected = {name: rule for rule, names in EXPECTED.items() for name in names.split()}
    assert {name: field.remote_field.on_delete for name, (_, field) in RELATIONS.items()} == expected


@pytest.mark.parametrize("name", sorted(RELATIONS))
def test_deleting_the_referenced_row(name):
    model, field = RELATIONS[name]
    row = make(model)
    target = getattr(row, field.name)
    if target is None:
        target = make(field.related_model)
        row = make(model, **{field.name: target})
    assert field.related_model not in FIXED or field.remote_field.on_delete is PROTECT

    if field.remote_field.on_delete is PROTECT:
        with pytest.raises(ProtectedError):
            target.delete()
        assert model._default_manager.filter(pk=row.pk).exists()
    else:
        target.delete()
        found = model._default_manager.filter(pk=row.pk).first()
        assert (found is None) == (field.remote_field.on_delete is CASCADE)
        assert found is None or getattr(found, field.attname) is None
