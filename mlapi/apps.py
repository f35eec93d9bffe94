from django.apps import AppConfig


class MlapiConfig(AppConfig):
    name = "mlapi"
    verbose_name = "ML API"

    def ready(self) -> None:
        # Imported here: they need the settings. The first replaces Django's admin of users, which
        # is registered by now, the second listens to log-ins, and the third registers the system
        # checks.
        from mlapi.accounts import (
            admin,  # noqa: F401
            logins,  # noqa: F401
        )
        from mlapi.configuration import checks  # noqa: F401
