from django.apps import AppConfig


class PredictionsConfig(AppConfig):
    name = "predictions"
    verbose_name = "Prediction log"

    def ready(self) -> None:
        # Models can only be imported once the apps are ready.
        from django.urls import reverse

        from predictions.evaluation.counting.work import COUNTING
        from predictions.evaluation.references.scoring import set_for_registration
        from predictions.evaluation.replays import announcements, promotion_gate
        from predictions.retention.work import RETENTION
        from registry import hooks
        from registry.webhooks import events
        from registry.work.kinds import register

        events.declare(announcements.REPLAY_FINISHED)
        register(RETENTION)
        register(COUNTING)
        hooks.register(
            hooks.Extension(
                promotion_gate=promotion_gate.check,
                set_reference=set_for_registration,
                version_links=[
                    hooks.AdminLink(
                        "Predictions",
                        lambda version: (
                            reverse("admin:predictions_prediction_changelist")
                            + f"?model__id__exact={version.pk}"
                        ),
                    ),
                    hooks.AdminLink(
                        "Quality",
                        lambda version: reverse("admin:predictions_quality", args=[version.pk]),
                    ),
                    hooks.AdminLink(
                        "References",
                        lambda version: (
                            reverse("admin:predictions_reference_changelist")
                            + f"?model__id__exact={version.pk}"
                        ),
                    ),
                ],
                alias_links=[
                    hooks.AdminLink(
                        "Comparison",
                        lambda row: reverse(
                            "admin:predictions_comparison", args=[row.name, row.alias]
                        ),
                    ),
                ],
            )
        )
