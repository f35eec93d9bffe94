import argparse

from django.core.management.base import BaseCommand, CommandError

from predictions.models import (
    MAX_CALLERS_NAME_LENGTH,
    MAX_PRIVACY_REASON_LENGTH,
    LegalHold,
    LegalHoldNotFound,
)
from predictions.retention import holds
from predictions.retention.errors import LegalHoldReleased, NamesSubject
from registry.models import ModelNotFound, RegisteredModel


class Command(BaseCommand):
    help = "Place, release and list legal holds, which keep predictions from being deleted."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        place = actions.add_parser("hold", help="Keep the predictions of a model or subject.")
        place.add_argument("--model", metavar="NAME", help="Only this model's predictions.")
        place.add_argument("--subject", help="Only this subject's predictions.")
        place.add_argument("--reason", required=True)
        release = actions.add_parser("release", help="End a hold.")
        release.add_argument("id", type=int)
        release.add_argument("--reason", required=True)
        actions.add_parser("list", help="Show the holds that are in force.")

    def handle(self, *, action: str, **options: object) -> None:
        try:
            if action == "list":
                self._list()
            elif action == "hold":
                self._place(options["model"], options["subject"], _reason(options))
            else:
                hold = holds.release(int(str(options["id"])), reason=_reason(options))
                self.stdout.write(self.style.SUCCESS(f"{hold} was released."))
        except (LegalHoldNotFound, LegalHoldReleased, ModelNotFound, NamesSubject) as error:
            raise CommandError(str(error)) from error

    def _place(self, model: object, subject: object, reason: str) -> None:
        if not model and not subject:
            raise CommandError("Give --model, --subject or both.")
        if subject and len(str(subject)) > MAX_CALLERS_NAME_LENGTH:
            raise CommandError(f"--subject: at most {MAX_CALLERS_NAME_LENGTH} characters.")
        hold = holds.place(
            registered_model=RegisteredModel.objects.find(str(model)) if model else None,
            subject=str(subject) if subject else None,
            reason=reason,
        )
        self.stdout.write(self.style.SUCCESS(f"{hold} keeps {hold.what}."))

    def _list(self) -> None:
        for hold in LegalHold.objects.active().select_related("registered_model").order_by("pk"):
            since = hold.created_at.isoformat()
            self.stdout.write(f"{hold} keeps {hold.what} since {since}: {hold.reason}")


def _reason(options: dict[str, object]) -> str:
    reason = str(options["reason"]).strip()
    if not 0 < len(reason) <= MAX_PRIVACY_REASON_LENGTH:
        raise CommandError(f"--reason: 1 to {MAX_PRIVACY_REASON_LENGTH} characters.")
    return reason
