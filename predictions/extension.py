"""What this app adds to the registry: see registry/hooks.py."""

from django.urls import reverse

from predictions.evaluation.promotion import gate
from predictions.evaluation.references.scoring import set_for_registration
from registry.hooks import AdminLink, Extension

EXTENSION = Extension(
    promotion_gate=gate.check,
    set_reference=set_for_registration,
    version_links=[
        AdminLink(
            "Predictions",
            lambda version: (
                reverse("admin:predictions_prediction_changelist")
                + f"?model__id__exact={version.pk}"
            ),
        ),
        AdminLink(
            "Quality", lambda version: reverse("admin:predictions_quality", args=[version.pk])
        ),
        AdminLink(
            "Monitoring",
            lambda version: reverse("admin:predictions_monitoring", args=[version.pk]),
        ),
        AdminLink(
            "References",
            lambda version: (
                reverse("admin:predictions_reference_changelist")
                + f"?model__id__exact={version.pk}"
            ),
        ),
    ],
    alias_links=[
        AdminLink(
            "Comparison",
            lambda row: reverse("admin:predictions_comparison", args=[row.name, row.alias]),
        ),
    ],
)
