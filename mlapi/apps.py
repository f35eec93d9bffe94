from django.apps import AppConfig


class MlapiConfig(AppConfig):
    name = "mlapi"
    verbose_name = "ML API"

    def ready(self) -> None:
        # Imported here: it needs the settings, and registers the system checks.
        from mlapi.configuration import checks  # noqa: F401
