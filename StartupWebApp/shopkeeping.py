"""Parts of the admin that the apps share: inlines and lists whose number of queries does not grow with their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Field, ForeignKey, Model, QuerySet, URLField
from django.forms import ModelChoiceField
from django.forms.models import ModelChoiceIterator
from django.http import HttpRequest

# These classes take a type only in their stubs.
if TYPE_CHECKING:
    BaseInlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
    ModelAdmin = admin.ModelAdmin[Any]
    StackedInline = admin.StackedInline[Any, Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline
    from django.forms import BaseInlineFormSet

#: For a model admin's `formfield_overrides`: an address without a scheme is one of https.
ASSUME_HTTPS: dict[type[Field[Any, Any]], dict[str, Any]] = {URLField: {"assume_scheme": "https"}}

__all__ = [
    "ASSUME_HTTPS",
    "AddressInline",
    "BaseInlineFormSet",
    "ClosedSet",
    "Inline",
    "ModelAdmin",
    "ReadOnly",
    "ReadOnlyInline",
    "StackedInline",
]


class SharedChoices:
    """An inline whose rows share one list of choices, read once: Django reads it again for each row."""

    parent_model: type[Model]

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **options: Any
    ) -> ModelChoiceField[Any] | None:
        """The field, with its choices already read; not those of the parent, which nobody chooses."""
        field: ModelChoiceField[Any] | None = super().formfield_for_foreignkey(  # type: ignore[misc]
            db_field, request, **options
        )
        if db_field.related_model is self.parent_model:
            return field
        if field is not None and isinstance(field.choices, ModelChoiceIterator):
            field.choices = list(field.choices)
        return field


class Inline(SharedChoices, TabularInline):
    """Rows of a part; `related` names what their words are made of."""

    extra = 0
    related: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows, with what their words need."""
        rows = super().get_queryset(request)
        return rows.select_related(*self.related) if self.related else rows


class ReadOnly:
    """For what happened: it is looked at, not edited. Who wants to be forgotten can be: it may be deleted."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes."""
        return False


class ClosedSet(ReadOnly, ModelAdmin):
    """For rows that code knows by their identifiers: the words may be changed, the set may not."""

    list_display = ("title", "identifier", "description")
    readonly_fields: ClassVar[tuple[str, ...]] = ("identifier",)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """As for any other row."""
        return ModelAdmin.has_change_permission(self, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes."""
        return False


class ReadOnlyInline(ReadOnly, Inline):
    """Rows of what happened; they go only with their parent."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes one alone."""
        return False


class AddressInline(StackedInline):
    """An address, folded away."""

    classes = ("collapse",)
    extra = 0
