from django.apps import AppConfig


class PredictionsConfig(AppConfig):
    name = "predictions"
    verbose_name = "Prediction log"

    def ready(self) -> None:
        # Models can only be imported once the apps are ready.
        from predictions import extension
        from predictions.evaluation.counting.work import COUNTING
        from predictions.evaluation.monitoring.alerts.announcements import EVENTS
        from predictions.evaluation.monitoring.alerts.mail import ALERT_MAILS
        from predictions.evaluation.monitoring.work import MONITORING
        from predictions.evaluation.replays.announcements import REPLAY_FINISHED
        from predictions.partitions.work import PARTITIONS
        from predictions.retention.work import RETENTION
        from registry import hooks
        from registry.webhooks import events
        from registry.work.kinds import register

        events.declare(REPLAY_FINISHED, *EVENTS)
        for kind in (RETENTION, PARTITIONS, COUNTING, MONITORING, ALERT_MAILS):
            register(kind)
        hooks.register(extension.EXTENSION)
