from typing import Any

from django.core.management.commands import migrate

from predictions.models import Prediction, continue_numbers
from registry.locks.process_locks import process_lock


class Command(migrate.Command):
    """Django's command, by one process at a time: two at once would fail halfway.

    Replicas that start together may all run it. The first one migrates, and the others wait and
    then find nothing to do.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        with process_lock("migrate", using=options["database"], on_wait=self._say_that_it_waits):
            super().handle(*args, **options)
            if not options["check_unapplied"] and not options["plan"]:
                self._continue_numbers(options["database"])

    def _say_that_it_waits(self) -> None:
        self.stdout.write("Waiting for another process that is migrating this database.")
        self.stdout.flush()

    def _continue_numbers(self, using: str) -> None:
        if continue_numbers(Prediction, using):
            self.stdout.write("The log was restored from another cluster: its order goes on.")
