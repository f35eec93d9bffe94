"""Erasures and legal holds in the admin: to add one is to erase, or to hold."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from predictions.models import (
    MAX_CALLERS_NAME_LENGTH,
    MAX_PRIVACY_REASON_LENGTH,
    Erasure,
    LegalHold,
)
from predictions.retention import erasing, holds
from predictions.retention.errors import (
    ErasureTooLarge,
    HeldByLaw,
    LegalHoldReleased,
    NamesSubject,
)
from predictions.retention.pseudonyms import require_discreet
from registry.access.accessor import Accessor
from registry.models import ModelNotFound
from registry.readonly_admin import ReadOnlyAdmin

if TYPE_CHECKING:
    _ErasureForm = forms.ModelForm[Erasure]
    _LegalHoldForm = forms.ModelForm[LegalHold]
else:
    _ErasureForm = _LegalHoldForm = forms.ModelForm

REFUSALS = (ErasureTooLarge, HeldByLaw, LegalHoldReleased, ModelNotFound, NamesSubject)


class ErasureForm(_ErasureForm):
    """Says how much would be deleted, until the box is ticked."""

    name = forms.CharField(
        max_length=MAX_CALLERS_NAME_LENGTH,
        strip=False,
        label="subject or reference",
        help_text="As it was sent with the predictions.",
    )
    confirmed = forms.BooleanField(
        required=False, label="Delete it all", help_text="This cannot be undone."
    )

    class Meta:
        model = Erasure
        fields = ("kind", "model", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        erasure = {field: cleaned[field] for field in ("kind", "name", "model", "reason")}
        try:
            count = erasing.check(**erasure)
        except REFUSALS as error:
            raise ValidationError(str(error)) from error
        if not cleaned["confirmed"]:
            text = f"{count} predictions would be deleted, with everything about them."
            self.add_error("confirmed", f"{text} Tick the box to confirm.")
        return cleaned


class AddableAdmin(ReadOnlyAdmin):
    """Read-only but for adding, which does what the row is evidence of."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except REFUSALS as error:
            # Something has changed since the form was checked.
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(
                reverse(f"admin:{self.opts.label_lower.replace('.', '_')}_changelist")
            )


@admin.register(Erasure)
class ErasureAdmin(AddableAdmin):
    form = ErasureForm  # type: ignore[assignment] # the base class is of any model
    list_display = ("id", "created_at", "kind", "model", "reason", "created_by")
    add_fields = ("kind", "name", "model", "reason", "confirmed")
    shown_fields = ("kind", "pseudonym", "model", "reason", "counts", "created_at", "created_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("created_by")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return self.add_fields if obj is None else self.shown_fields

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        names = ("kind", "name", "model", "reason")
        fields = {name: form.cleaned_data[name] for name in names}
        erasure = erasing.erase(**fields, accessor=Accessor.of(request))
        obj.pk = erasure.pk
        counts = ", ".join(
            f"{count} {name.replace('_', ' ')}" for name, count in erasure.counts.items()
        )
        remains = " ".join(erasing.REMAINS)
        self.message_user(request, f"Deleted: {counts}. Not reached: {remains}")


class LegalHoldForm(_LegalHoldForm):
    """A new hold."""

    class Meta:
        model = LegalHold
        fields = ("registered_model", "subject", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("registered_model") and not cleaned.get("subject"):
            raise ValidationError("Give a model, a subject or both.")
        if cleaned.get("subject") and cleaned.get("reason"):
            try:
                require_discreet("subject", cleaned["subject"], cleaned["reason"])
            except NamesSubject as error:
                self.add_error("reason", str(error))
        return cleaned


class ReleaseForm(_LegalHoldForm):
    """The end of a hold."""

    release = forms.CharField(
        max_length=MAX_PRIVACY_REASON_LENGTH,
        label="reason for its release",
        help_text="Saving releases the hold.",
    )

    class Meta:
        model = LegalHold
        fields = ()


@admin.register(LegalHold)
class LegalHoldAdmin(AddableAdmin):
    list_display = ("id", "created_at", "what", "subject", "reason", "created_by", "released_at")
    list_filter = (("released_at", admin.EmptyFieldListFilter),)
    add_fields = ("registered_model", "subject", "reason")
    shown_fields = (*add_fields, "created_at", "created_by")
    released_fields = (*shown_fields, "released_at", "released_by", "release_reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        related = ("registered_model", "created_by")
        return super().get_queryset(request).select_related(*related)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if not isinstance(obj, LegalHold) or obj.released_at is not None:
            return False
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = LegalHoldForm if obj is None else ReleaseForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        if not isinstance(obj, LegalHold):
            return self.add_fields
        if self.has_change_permission(request, obj):
            return (*self.shown_fields, "release")
        return self.released_fields

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else self.released_fields

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        accessor = Accessor.of(request)
        if change:
            holds.release(obj.pk, reason=form.cleaned_data["release"], accessor=accessor)
            return
        fields = {name: form.cleaned_data[name] for name in ("registered_model", "reason")}
        subject = form.cleaned_data["subject"] or None
        obj.pk = holds.place(**fields, subject=subject, accessor=accessor).pk
