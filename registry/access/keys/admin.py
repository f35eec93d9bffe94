"""The admin pages of API keys: a new key is shown once, on a page of its own."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from registry.access.accessor import Accessor
from registry.access.keys import changes
from registry.access.keys.control import require_control
from registry.access.keys.values import SCHEME
from registry.database import clock
from registry.models import ApiKey, Right
from registry.models.registered_models import MAX_RATE_LIMIT

if TYPE_CHECKING:
    # Generic only in the stubs.
    _ApiKeyAdmin = admin.ModelAdmin[ApiKey]
    _ApiKeyForm = forms.ModelForm[ApiKey]
else:
    _ApiKeyAdmin, _ApiKeyForm = admin.ModelAdmin, forms.ModelForm

SCOPES = tuple(right.value for right in Right)
CHOSEN = ("name", "owner", "expires_at", "rate_limit", *SCOPES, "all_models", "registered_models")
SHOWN = ("key", "created_at", "created_by", "last_used_at", "revoked_at", "replaces")
OVERLAP_HOURS = 24


class ApiKeyForm(_ApiKeyForm):
    def clean(self) -> dict[str, Any]:
        fields = super().clean() or {}
        if not any(fields.get(scope) for scope in SCOPES):
            raise forms.ValidationError("Choose at least one scope.")
        if fields.get("all_models") and fields.get("registered_models"):
            self.add_error("registered_models", "Choose models, or all models, not both.")
        if not fields.get("all_models") and not fields.get("registered_models"):
            self.add_error("registered_models", "Choose at least one model, or all models.")
        self._check_expiry(fields)
        return fields

    def clean_rate_limit(self) -> int | None:
        limit: int | None = self.cleaned_data["rate_limit"]
        if limit is not None and not 1 <= limit <= MAX_RATE_LIMIT:
            raise forms.ValidationError(f"Must be from 1 to {MAX_RATE_LIMIT}.")
        return limit

    def _check_expiry(self, fields: dict[str, Any]) -> None:
        latest, expires_at = changes.default_expiry(), fields.get("expires_at")
        is_new = self.instance.pk is None
        if latest is None or not (is_new or "expires_at" in self.changed_data):
            return
        if is_new and expires_at is None:
            fields["expires_at"] = latest
        elif expires_at is None or expires_at > latest:
            self.add_error(
                "expires_at", f"Must be at most {latest:%Y-%m-%d %H:%M} (API_KEY_MAX_DAYS)."
            )


@admin.register(ApiKey)
class ApiKeyAdmin(_ApiKeyAdmin):
    form = ApiKeyForm
    list_display = ("name", "key", "owner", "state", "scopes", "last_used_at", "created_at")
    list_filter = ("revoked_at", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "owner__username")
    ordering = ("-created_at", "-id")
    actions = ("rotate", "revoke")
    autocomplete_fields = ("owner",)
    filter_horizontal = ("registered_models",)
    show_full_result_count = False

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return CHOSEN if obj is None else (*CHOSEN, *SHOWN)

    def get_readonly_fields(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        # A key that has ended stays as it was: nothing brings it back.
        return (*CHOSEN, *SHOWN) if obj.revoked_at else ("owner", *SHOWN)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        accessor, fields = Accessor.of(request), form.cleaned_data
        action = "change" if change else "add"
        require_control(accessor, obj.owner, f"registry.{action}_apikey")
        if change:
            super().save_model(request, obj, form, change)
            return
        row, value = changes.create_key(
            name=obj.name,
            owner=obj.owner,
            scopes=obj.rights,
            models=None if obj.all_models else list(fields["registered_models"]),
            expires_at=fields["expires_at"],
            rate_limit=obj.rate_limit,
            accessor=accessor,
        )
        obj.pk, obj.prefix = row.pk, row.prefix
        obj._state.adding = False
        # For the page that follows, of this request alone.
        request.new_api_keys = [(row, value)]  # type: ignore[attr-defined]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        if change:
            super().save_related(request, form, formsets, change)
            changes.record_change(form.instance, Accessor.of(request))

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_once(request, request.new_api_keys)  # type: ignore[attr-defined]

    def _show_once(self, request: HttpRequest, made: list[tuple[ApiKey, str]]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "New API key" if len(made) == 1 else "New API keys",
            "opts": self.opts,
            "made": made,
            "overlap_hours": OVERLAP_HOURS,
        }
        page = TemplateResponse(request, "admin/registry/apikey/new_keys.html", context)
        # No proxy or browser may keep the values.
        page.headers["Cache-Control"] = "no-store"
        return page

    # -- actions

    @admin.action(description="Rotate selected keys", permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        accessor, made = Accessor.of(request), []
        for key in queryset.select_related("owner"):
            try:
                require_control(accessor, key.owner, "registry.change_apikey")
                made.append(
                    changes.rotate_key(
                        key_id=key.pk, overlap_hours=OVERLAP_HOURS, accessor=accessor
                    )
                )
            except (changes.ApiKeyEnded, changes.TooManyApiKeys, PermissionDenied) as error:
                self.message_user(request, str(error), messages.ERROR)
        return self._show_once(request, made) if made else None

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        accessor = Accessor.of(request)
        keys = list(queryset.filter(revoked_at=None))
        for key in keys:
            changes.revoke_key(key_id=key.pk, accessor=accessor)
            self.log_change(request, key, "Revoked.")
        noun = "key" if len(keys) == 1 else "keys"
        self.message_user(request, f"{len(keys)} {noun} revoked.", messages.SUCCESS)

    # -- columns

    @admin.display(description="begins with")
    def key(self, key: ApiKey) -> str:
        return f"{SCHEME}{key.prefix}"

    @admin.display(description="scopes")
    def scopes(self, key: ApiKey) -> str:
        return ", ".join(right.label for right in key.rights)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        if key.expires_at is None or key.expires_at > clock.now():
            return "valid"
        return "expired"
