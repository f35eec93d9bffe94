import argparse
import sys

import orjson
from django.core.management.base import BaseCommand, CommandError

from predictions.models import Prediction
from predictions.serializers import PredictionDetailSerializer
from predictions.serving import services
from predictions.serving.questions import Question
from registry.exact_json.values import JSONObject, parse_json_body
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined
from registry.models import ModelNotFound
from registry.signatures.validation import InvalidInput


class Command(BaseCommand):
    help = "Score one input with a version, record the prediction and print the record as JSON."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "model",
            metavar="NAME[:VERSION|@ALIAS]",
            help="A name alone means its champion alias.",
        )
        parser.add_argument(
            "input_data",
            metavar="JSON",
            help='{"features": [...]}, a list of features, or an object by feature name; "-" reads'
            " standard input.",
        )

    def handle(self, *, model: str, input_data: str, **options: object) -> None:
        row = _parse_input(sys.stdin.read() if input_data == "-" else input_data)
        try:
            record = services.predict(Question(model=model), row)
        except (
            ArtifactMissing,
            InvalidInput,
            ModelNotFound,
            ModelNotReady,
            ModelQuarantined,
            services.PredictionFailed,
        ) as error:
            raise CommandError(str(error)) from error
        document = PredictionDetailSerializer(Prediction.objects.find(record.pk)).data
        self.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _parse_input(text: str) -> JSONObject:
    try:
        value = parse_json_body(text.encode())
    except ValueError as error:
        raise CommandError(f"The input is not valid JSON: {error}") from error
    if isinstance(value, list):
        return {"features": value}
    if not isinstance(value, dict):
        raise CommandError("The input must be a list of features or an object by feature name.")
    return value
