"""The forms of aliases in the admin: what they ask for is done by `registry.aliases.moves`."""

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.validators import RegexValidator

from registry.aliases import moves
from registry.aliases.moves import AliasMoved, Cause, MoveRefused
from registry.models import (
    CHAMPION,
    MAX_ALIAS_LENGTH,
    MAX_REASON_LENGTH,
    MAX_SHADOWS,
    NAME_PATTERN,
    Alias,
    ModelNotFound,
    ModelVersion,
)

MOVE_ERRORS = (AliasMoved, ModelNotFound, MoveRefused)
# Older ones are moved to through the API.
MAX_CHOICES = 200

_safe = RegexValidator(
    NAME_PATTERN, "Must start with a letter or digit and hold only letters, digits and . _ + -"
)


class PercentInput(forms.NumberInput):
    """A number with a slider beside it, which a script shows and keeps in step."""

    template_name = "admin/registry/alias/percent.html"

    class Media:
        js = ["registry/percent.js"]


class AliasForm(forms.ModelForm):
    """What both forms share. Their fields are named unlike the model's, which they never set."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_LENGTH,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Why; it is kept in the history.",
    )
    force = forms.BooleanField(
        required=False,
        help_text="Even if the versions could not answer what the present callers send.",
    )

    # Set by the admin, which knows who is signed in.
    user: User | None = None
    request_id = ""

    class Meta:
        model = Alias
        fields: list[str] = []

    def is_valid(self) -> bool:
        """Whether the form is valid and the alias was moved as it says."""
        return super().is_valid() and self._moved()

    def _moved(self) -> bool:
        cause = Cause(self.cleaned_data["reason"], self.user, self.request_id)
        try:
            self.instance, _ = moves.set_alias(
                **self.wanted(), force=self.cleaned_data["force"], cause=cause
            )
        except MOVE_ERRORS as error:
            self.add_error(None, str(error))
        return not self.errors

    def wanted(self) -> dict[str, Any]:
        """Which alias, and the versions it shall have, as `set_alias` takes them."""
        raise NotImplementedError


class AliasAddForm(AliasForm):
    model_name = forms.CharField(label="Name", max_length=100, validators=[_safe])
    alias_name = forms.CharField(
        label="Alias",
        max_length=MAX_ALIAS_LENGTH,
        validators=[_safe],
        help_text=f"Such as challenger; {CHAMPION} is what the name alone means.",
    )
    live_version = forms.CharField(label="Version", max_length=50)

    def clean(self) -> None:
        super().clean()
        name, alias = (self.cleaned_data.get(key) for key in ("model_name", "alias_name"))
        if Alias.objects.filter(name=name, alias=alias).exists():
            self.add_error("alias_name", f"{name}@{alias} is there already.")

    def wanted(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "name": given["model_name"],
            "alias": given["alias_name"],
            "version": given["live_version"],
        }


class AliasChangeForm(AliasForm):
    live_version = forms.ChoiceField(label="Version", help_text="Answers the callers.")
    canary_version = forms.ChoiceField(
        label="Canary", required=False, help_text="Answers instead for a share of the subjects."
    )
    percent = forms.FloatField(
        label="Share of the canary",
        required=False,
        min_value=0,
        max_value=100,
        widget=PercentInput(attrs={"step": "any"}),
        help_text="Percent of the subjects, each of whom always sees the same version.",
    )
    shadow_versions = forms.MultipleChoiceField(
        label="Shadows",
        required=False,
        help_text=f"Score the same input unseen; {MAX_SHADOWS} at most.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        arms = self.instance.arms
        held = [arms.version, *([arms.canary] if arms.canary else []), *arms.shadows]
        choices = [(text, text) for text in _choices(self.instance.name, held)]
        self.fields["live_version"].choices = choices  # type: ignore[attr-defined]
        self.fields["shadow_versions"].choices = choices  # type: ignore[attr-defined]
        self.fields["canary_version"].choices = [  # type: ignore[attr-defined]
            ("", "no canary"),
            *choices,
        ]
        self.initial = {
            **self.initial,
            "live_version": arms.version.version,
            "canary_version": arms.canary.version if arms.canary else "",
            "percent": arms.canary_percent,
            "shadow_versions": [shadow.version for shadow in arms.shadows],
        }

    def clean_shadow_versions(self) -> list[str]:
        shadows: list[str] = self.cleaned_data["shadow_versions"]
        if len(shadows) > MAX_SHADOWS:
            raise forms.ValidationError(f"Choose {MAX_SHADOWS} at most, not {len(shadows)}.")
        return shadows

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        if given.get("canary_version") and "percent" in given and not given["percent"]:
            self.add_error("percent", "Must be above 0 and at most 100.")

    def wanted(self) -> dict[str, Any]:
        given = self.cleaned_data
        canary, version = given["canary_version"], given["live_version"]
        shadows = given["shadow_versions"]
        if version != self.instance.version.version:
            # Whoever is promoted is no longer canary or shadow, as through the API.
            canary = "" if canary == version else canary
            shadows = [shadow for shadow in shadows if shadow != version]
        return {
            "name": self.instance.name,
            "alias": self.instance.alias,
            "version": version,
            "canary": (canary, given["percent"]) if canary else None,
            "shadows": shadows,
        }


def _choices(name: str, held: list[ModelVersion]) -> list[str]:
    """The versions that can be chosen: what is held, and the newest that can answer."""
    newest = ModelVersion.objects.active().filter(name=name).exclude(artifact="").newest_first()
    versions = newest.values_list("version", flat=True)[:MAX_CHOICES]
    return list(dict.fromkeys([*versions, *(version.version for version in held)]))
