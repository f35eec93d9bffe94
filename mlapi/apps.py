from django.apps import AppConfig


class MlapiConfig(AppConfig):
    name = "mlapi"
    verbose_name = "ML API"

    def ready(self) -> None:
        from mlapi import checks  # noqa: F401 -- registers the system checks
