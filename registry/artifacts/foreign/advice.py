"""What to do about a file that mlapi does not take: for each kind, one command. No Django here."""

from typing import NamedTuple

from registry.runtimes import FRAMEWORKS

EXPORTS = "; ".join(f"{row.name}: {row.export}" for row in FRAMEWORKS.values())
TAKES = "mlapi takes " + ", ".join(
    f"{row.name} ({', '.join(row.suffixes)})" for row in FRAMEWORKS.values()
)
SKOPS = FRAMEWORKS["sklearn"].export
CONVERT_PICKLE = "`python manage.py convert_pickle FILE --to skops`"
REGISTER_FOLDER = "python manage.py register_model FOLDER --name NAME"
XGBOOST_SAVE = FRAMEWORKS["xgboost"].export
LIGHTGBM_SAVE = FRAMEWORKS["lightgbm"].export
CATBOOST_SAVE = "model.save_model('model.cbm')"


class Foreign(NamedTuple):
    """A file that is not a model that mlapi takes: what it is, and what to do instead."""

    what: str
    """Completes "This is ..."."""
    instead: str
    """A sentence."""

    @property
    def message(self) -> str:
        return f"This is {self.what}. {self.instead} {TAKES}."


def data(what: str) -> Foreign:
    """Data or a document: there is no model in it."""
    return Foreign(f"{what}, not a model", f"Save the trained model itself, as {SKOPS} does.")


def pickled(what: str) -> Foreign:
    """A pickle of a scikit-learn model, or of nobody knows what."""
    return Foreign(
        what,
        "mlapi never unpickles a file, because unpickling runs any code the file contains. Save the"
        f" model with {SKOPS}, or, if you trust this file, convert it with {CONVERT_PICKLE}.",
    )


def pickled_booster(what: str, save: str) -> Foreign:
    """A pickle whose library has a format of its own."""
    return Foreign(
        what,
        "mlapi never unpickles a file, because unpickling runs any code the file contains. Load it"
        f" where you trust it, and save the model with {save}.",
    )


def torch(what: str, model: str = "model", options: str = "") -> Foreign:
    return Foreign(
        what, f"Export it to ONNX: torch.onnx.export({model}, (example,), 'model.onnx'{options})."
    )


def keras(what: str) -> Foreign:
    return Foreign(
        what,
        "Export it to ONNX: keras.models.load_model('FILE').export('model.onnx', format='onnx').",
    )


def tensorflow(what: str, option: str) -> Foreign:
    return Foreign(
        what, f"Export it to ONNX: python -m tf2onnx.convert {option} --output model.onnx."
    )


def xgboost(what: str) -> Foreign:
    return Foreign(what, f"Save the model itself with {XGBOOST_SAVE}.")


def lightgbm(what: str) -> Foreign:
    return Foreign(what, f"Save the model itself with {LIGHTGBM_SAVE}.")


def catboost(what: str) -> Foreign:
    return Foreign(what, f"Save the model with {CATBOOST_SAVE}.")


def reexport(what: str) -> Foreign:
    """A format that is made from another model and cannot be turned back."""
    return Foreign(
        what,
        "Export the model that it was made from to ONNX, a scikit-learn model with"
        " skl2onnx.to_onnx(model, X[:1]).",
    )


def served_elsewhere(what: str) -> Foreign:
    """A format for which no exporter exists: its own server can be asked."""
    return Foreign(
        what,
        "No library exports it to a format that mlapi takes. Serve it with a server of the Open"
        f" Inference Protocol and register {FRAMEWORKS['open-inference'].export}.",
    )


# Decompressing is left to the sender: the size of the result is not known before.
def packed(what: str, command: str) -> Foreign:
    return Foreign(what, f"Unpack it with {command} and send the model file itself.")


DAMAGED = "The file is damaged or truncated: {}. Export the model again and send the complete file."
R_MODEL = (
    "Only R reads it. Save the model in R with xgboost::xgb.save(model, 'model.ubj') or"
    " lightgbm::lgb.save(model, 'model.txt')."
)
