"""JSON, XML and HTML documents. No Django here."""

import re
from collections.abc import Sequence

import orjson

from registry.artifacts.foreign import advice
from registry.artifacts.foreign.advice import Foreign
from registry.runtimes import FRAMEWORKS

# The time of a search grows with the square of the length.
_XML_HEAD = 4096
# (what the document has somewhere in its start or end, what it is); the first that fits counts.
_XML_KINDS: Sequence[tuple[re.Pattern[str], Foreign]] = (
    (re.compile(r"<PMML\b"), advice.reexport("a PMML document")),
    (
        re.compile(r"<net\b[^>]*\bversion="),
        advice.reexport("an OpenVINO model (.xml, with its weights in a .bin)"),
    ),
    (
        re.compile(r"<Error>\s*<Code>"),
        Foreign(
            "an error of a storage service (S3 or Azure), not the file",
            "Download the file again, for example with aws s3 cp or az storage blob download, and"
            " check the access rights.",
        ),
    ),
    (
        re.compile(r"<(!doctype html|html)\b", re.IGNORECASE),
        Foreign(
            "a web page, not the file",
            "Download the file again, for example with curl -L, and log in if the page asks to.",
        ),
    ),
    (re.compile(r"<svg\b"), advice.data("an SVG image")),
)
_JSON_KINDS: Sequence[tuple[re.Pattern[str], Foreign]] = (
    (
        re.compile(r'"nbformat"\s*:'),
        Foreign(
            "a Jupyter notebook, not the model that it trains",
            f"Save the model in the notebook, as {advice.SKOPS} does.",
        ),
    ),
    (
        re.compile(r'^\s*\{\s*"name"\s*:\s*"tree"'),
        advice.lightgbm("LightGBM's dump of a model as JSON, which LightGBM cannot load"),
    ),
    (
        re.compile(r'"nodeid"\s*:\s*\d+'),
        advice.xgboost("XGBoost's dump of the trees as JSON, which XGBoost cannot load"),
    ),
    (
        re.compile(r'"(oblivious_trees|float_features)"\s*:'),
        advice.catboost("a CatBoost model as JSON"),
    ),
    (
        re.compile(r'"format"\s*:\s*"(layers|graph)-model"'),
        advice.reexport("a TensorFlow.js model"),
    ),
    (
        re.compile(r'"(keras_version|registered_name|batch_input_shape)"\s*:'),
        advice.keras("the JSON configuration of a Keras model, without its weights"),
    ),
    (
        re.compile(r'"(architectures|model_type|tokenizer_class)"\s*:'),
        Foreign(
            "the JSON configuration of a Hugging Face model, without its weights",
            "Export the model to ONNX: optimum-cli export onnx --model FOLDER FOLDER.onnx.",
        ),
    ),
)


def describe_markup(start: str) -> Foreign | None:
    """What the XML or HTML document is; None if it is neither."""
    if not start.lstrip().startswith("<"):
        return None
    head = start[:_XML_HEAD]
    for pattern, foreign in _XML_KINDS:
        if pattern.search(head):
            return foreign
    is_xml = re.match(r"\s*<(\?xml|!--|[A-Za-z_])", start)
    return advice.data("an XML document") if is_xml else None


def describe_json(start: str, end: str) -> Foreign | None:
    """What the JSON document is, by its start and its end; None if it does not begin as one."""
    text = start.lstrip()
    if not text.startswith(("{", "[")) or not re.match(r'[{\[]\s*(["{\[\]}\d-]|true|null)', text):
        return None
    for pattern, foreign in _JSON_KINDS:
        if pattern.search(text) or pattern.search(end):
            return foreign
    lines = text.splitlines()
    if len(lines) > 1 and all(_is_json(line) for line in lines[:2]):
        return advice.data("JSON Lines data")
    if text.startswith("["):
        return advice.data("JSON data")
    xgboost, remote = FRAMEWORKS["xgboost"], FRAMEWORKS["open-inference"]
    return Foreign(
        "JSON, but neither an XGBoost model nor a description of a remote model",
        f"For XGBoost: {xgboost.export}. For a remote model: {remote.export}.",
    )


def _is_json(line: str) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return line.startswith(("{", "["))
