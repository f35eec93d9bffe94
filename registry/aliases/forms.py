"""The admin's alias forms. Validating a form also moves the alias, so that errors appear on it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from django import forms
from django.core.validators import RegexValidator

from registry.access.accessor import Accessor
from registry.aliases import moves
from registry.aliases.approvals import requests
from registry.aliases.moves import CanarySpec
from registry.aliases.recording import SYSTEM, AliasMoved
from registry.aliases.validation import MoveRefused
from registry.exact_json.values import JSONObject
from registry.models import (
    CHAMPION,
    MAX_ALIAS_LENGTH,
    MAX_REASON_LENGTH,
    MAX_SHADOWS,
    NAME_PATTERN,
    Alias,
    ModelNotFound,
    ModelVersion,
    RegisteredModel,
)

MOVE_ERRORS = (AliasMoved, ModelNotFound, MoveRefused)
# To move to an older version, use the API.
MAX_CHOICES = 200

if TYPE_CHECKING:
    # Generic only in the stubs.
    _ModelForm = forms.ModelForm[Alias]
else:
    _ModelForm = forms.ModelForm

_validate_name = RegexValidator(
    NAME_PATTERN, "Must start with a letter or digit and contain only letters, digits and . _ + -"
)


class MoveArguments(TypedDict):
    """The arguments of `set_alias` that a form's fields determine."""

    name: str
    alias: str
    version: str
    canary: NotRequired[CanarySpec | None]
    shadows: NotRequired[list[str]]


class PercentInput(forms.NumberInput):
    """A number input. A script adds a slider and keeps both in sync."""

    template_name = "admin/registry/alias/percent.html"

    class Media:
        js = ["registry/percent.js"]


class AliasForm(_ModelForm):
    """The base of both forms. No field is named like a model field, or Django would set that."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_LENGTH,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Recorded in the history.",
    )
    force = forms.BooleanField(
        required=False,
        help_text="Move the alias even if a version cannot score what its callers send.",
    )

    # The admin sets this to the signed-in user.
    attribution = SYSTEM

    class Meta:
        model = Alias
        fields: list[str] = []

    def is_valid(self) -> bool:
        """Validate the fields, then move the alias; an error of the move makes the form invalid."""
        return super().is_valid() and self._move_alias()

    def _move_alias(self) -> bool:
        arguments = self.move_arguments()
        if RegisteredModel.objects.needs_approval(arguments["name"]):
            self._ask(arguments)
            return False
        try:
            self.instance, _ = moves.set_alias(
                **arguments,
                force=self.cleaned_data["force"],
                attribution=replace(self.attribution, reason=self.cleaned_data["reason"]),
            )
        except MOVE_ERRORS as error:
            self.add_error(None, str(error))
        return not self.errors

    def _ask(self, arguments: MoveArguments) -> None:
        """Ask somebody else to approve the move; the page says so where it shows errors."""
        move: JSONObject = {"version": arguments["version"], "force": self.cleaned_data["force"]}
        if "canary" in arguments:
            canary = arguments["canary"]
            move["canary"] = canary and {"version": canary[0], "percent": canary[1]}
        if "shadows" in arguments:
            move["shadows"] = arguments["shadows"]
        try:
            asked = requests.ask_to_set(
                name=arguments["name"],
                alias=arguments["alias"],
                move=move,
                reason=self.cleaned_data["reason"],
                accessor=Accessor(self.attribution.user, request_id=self.attribution.request_id),
            )
        except MOVE_ERRORS as error:
            self.add_error(None, str(error))
        else:
            message = f"Nothing has been moved: request {asked.pk} waits for somebody's approval."
            self.add_error(None, message)

    def move_arguments(self) -> MoveArguments:
        raise NotImplementedError


class AliasAddForm(AliasForm):
    model_name = forms.CharField(label="Name", max_length=100, validators=[_validate_name])
    alias_name = forms.CharField(
        label="Alias",
        max_length=MAX_ALIAS_LENGTH,
        validators=[_validate_name],
        help_text=f'For example "challenger". A bare name refers to its "{CHAMPION}".',
    )
    live_version = forms.CharField(label="Version", max_length=50)

    def clean(self) -> None:
        super().clean()
        name, alias = (self.cleaned_data.get(key) for key in ("model_name", "alias_name"))
        if Alias.objects.filter(name=name, alias=alias).exists():
            self.add_error("alias_name", f"{name}@{alias} already exists.")

    def move_arguments(self) -> MoveArguments:
        return {
            "name": self.cleaned_data["model_name"],
            "alias": self.cleaned_data["alias_name"],
            "version": self.cleaned_data["live_version"],
        }


class AliasChangeForm(AliasForm):
    live_version = forms.ChoiceField(label="Version", help_text="Answers the alias's callers.")
    canary_version = forms.ChoiceField(
        label="Canary",
        required=False,
        help_text="Answers for a share of the subjects instead of the version above.",
    )
    percent = forms.FloatField(
        label="Canary share",
        required=False,
        min_value=0,
        max_value=100,
        widget=PercentInput(attrs={"step": "any"}),
        help_text="Percent of the subjects. A subject always gets the same version.",
    )
    shadow_versions = forms.MultipleChoiceField(
        label="Shadows",
        required=False,
        help_text="Score the same input without their answers being returned."
        f" The limit is {MAX_SHADOWS}.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        arms = self.instance.arms
        in_use = [arms.version, *([arms.canary] if arms.canary else []), *arms.shadows]
        choices = [(number, number) for number in _selectable(self.instance.name, in_use)]
        self._set_choices("live_version", choices)
        self._set_choices("canary_version", [("", "no canary"), *choices])
        self._set_choices("shadow_versions", choices)
        self.initial = {
            **self.initial,
            "live_version": arms.version.version,
            "canary_version": arms.canary.version if arms.canary else "",
            "percent": arms.canary_percent,
            "shadow_versions": [shadow.version for shadow in arms.shadows],
        }

    def _set_choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean_shadow_versions(self) -> list[str]:
        shadows: list[str] = self.cleaned_data["shadow_versions"]
        if len(shadows) > MAX_SHADOWS:
            raise forms.ValidationError(f"The limit is {MAX_SHADOWS} shadows, not {len(shadows)}.")
        return shadows

    def clean(self) -> None:
        super().clean()
        data = self.cleaned_data
        if data.get("canary_version") and "percent" in data and not data["percent"]:
            self.add_error("percent", "Must be above 0 and at most 100.")

    def move_arguments(self) -> MoveArguments:
        data = self.cleaned_data
        version, canary, shadows = (
            data[name] for name in ("live_version", "canary_version", "shadow_versions")
        )
        if version != self.instance.version.version:
            # As in the API, a version that is promoted stops being canary or shadow.
            canary = "" if canary == version else canary
            shadows = [shadow for shadow in shadows if shadow != version]
        return {
            "name": self.instance.name,
            "alias": self.instance.alias,
            "version": version,
            "canary": (canary, data["percent"]) if canary else None,
            "shadows": shadows,
        }


def _selectable(name: str, in_use: list[ModelVersion]) -> list[str]:
    """The newest usable versions of this name, and those that the alias already uses."""
    newest = ModelVersion.objects.active().filter(name=name).exclude(artifact="").newest_first()
    numbers = newest.values_list("version", flat=True)[:MAX_CHOICES]
    return list(dict.fromkeys([*numbers, *(version.version for version in in_use)]))
