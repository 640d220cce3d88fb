"""Base classes of the model admins of all apps. The number of queries does not grow with the number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Field, ForeignKey, Model, QuerySet, URLField
from django.forms import ModelChoiceField
from django.forms.models import ModelChoiceIterator
from django.http import HttpRequest

# Only the stubs of these classes are generic.
if TYPE_CHECKING:
    BaseInlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
    ModelAdmin = admin.ModelAdmin[Any]
    ModelForm = forms.ModelForm[Any]
    StackedInline = admin.StackedInline[Any, Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline
    from django.forms import BaseInlineFormSet, ModelForm

#: For `formfield_overrides`: https is the default scheme of a URL.
ASSUME_HTTPS: dict[type[Field[Any, Any]], dict[str, Any]] = {URLField: {"assume_scheme": "https"}}

__all__ = [
    "ASSUME_HTTPS",
    "AddressInline",
    "BaseInlineFormSet",
    "FixedRows",
    "Inline",
    "ModelAdmin",
    "ModelForm",
    "ReadOnly",
    "ReadOnlyInline",
    "StackedInline",
]


class SharedChoices:
    """An inline whose rows share one list of choices. Django would query the list once per row."""

    parent_model: type[Model]

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **options: Any
    ) -> ModelChoiceField[Any] | None:
        """Return the field with its choices loaded, except for the foreign key to the parent."""
        field: ModelChoiceField[Any] | None = super().formfield_for_foreignkey(  # type: ignore[misc]
            db_field, request, **options
        )
        if db_field.related_model is self.parent_model:
            return field
        if field is not None and isinstance(field.choices, ModelChoiceIterator):
            field.choices = list(field.choices)
        return field


class Inline(SharedChoices, TabularInline):
    """A table of related rows. `related` lists the relations that the text of a row uses."""

    extra = 0
    related: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with their relations."""
        rows = super().get_queryset(request)
        return rows.select_related(*self.related) if self.related else rows


class ReadOnly:
    """For records of events: they can be viewed and, for privacy requests, deleted, but not edited."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


class FixedRows(ReadOnly, ModelAdmin):
    """For reference rows that code depends on: titles can be changed; rows cannot be added or deleted."""

    list_display = ("title", "identifier", "description")
    readonly_fields: ClassVar[tuple[str, ...]] = ("identifier",)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return whether the user has the permission to change the model."""
        return ModelAdmin.has_change_permission(self, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


class ReadOnlyInline(ReadOnly, Inline):
    """Records of events; they are deleted with their parent only."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


class AddressInline(StackedInline):
    """An address, collapsed by default."""

    classes = ("collapse",)
    extra = 0
