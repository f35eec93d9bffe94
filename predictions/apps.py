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
        from predictions.jobs.announcements import JOB_FINISHED
        from predictions.jobs.worker import work as jobs
        from predictions.partitions.work import PARTITIONS
        from predictions.retention.work import RETENTION
        from registry import hooks
        from registry.webhooks import events
        from registry.work.kinds import register

        events.declare(REPLAY_FINISHED, JOB_FINISHED, *EVENTS)
        for kind in (
            RETENTION,
            PARTITIONS,
            COUNTING,
            MONITORING,
            ALERT_MAILS,
            jobs.JOBS,
            jobs.TIDYING,
        ):
            register(kind)
        _register_jobs()
        hooks.register(extension.EXTENSION)


def _register_jobs() -> None:
    """Declare the kinds of jobs."""
    from predictions.evaluation.counting.jobs import COUNTING_NOW
    from predictions.evaluation.monitoring.jobs import MONITORING_NOW
    from predictions.evaluation.replays.jobs import REPLAY
    from predictions.export.jobs import EXPORT
    from predictions.jobs.kinds import register
    from predictions.retention.jobs import ERASURE, RETENTION_NOW
    from predictions.scoring.runs.jobs import SCORE

    for kind in (REPLAY, EXPORT, ERASURE, RETENTION_NOW, COUNTING_NOW, MONITORING_NOW, SCORE):
        register(kind)
