from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry"
    verbose_name = "Model registry"

    def ready(self) -> None:
        # Models can only be imported once the apps are ready.
        from registry.webhooks import events
        from registry.webhooks.delivery import kinds
        from registry.work.kinds import register

        events.declare(
            events.VERSION_REGISTERED,
            events.ARTIFACT_ATTACHED,
            events.ALIAS_MOVED,
            events.APPROVAL_REQUESTED,
        )
        register(kinds.DELIVERIES)
        register(kinds.TIDYING)
