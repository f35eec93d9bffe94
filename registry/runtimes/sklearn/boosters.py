"""XGBoost's and LightGBM's estimators inside a scikit-learn model. No Django here.

Their libraries are imported only for a file that holds them.
"""

import json
import re
from collections.abc import Iterable

from registry.runtimes import runtime_module
from registry.runtimes.base import LoadError
from registry.runtimes.trees.lightgbm import check_text
from registry.runtimes.trees.xgboost import check_booster

# Read with xgboost 3.2 and lightgbm 4.7: only the boosters have a __setstate__ of their own. It
# passes the model's bytes or text to the native parser that also reads the library's own files,
# and opens no file; the estimators take what BaseEstimator takes.
BOOSTER_TYPES = frozenset(
    (
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRanker",
        "xgboost.sklearn.XGBRegressor",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRanker",
        "lightgbm.sklearn.LGBMRegressor",
        # The evaluation results of LightGBM.
        "collections.OrderedDict",
    )
)
# LightGBM ends a line at either character.
_TREE = re.compile(r"(?:\A|[\n\r])Tree=")
_MODULES = re.compile(rb'"__module__":\s*"(xgboost|lightgbm)\.')


def import_boosters(schema: bytes) -> dict[str, str]:
    """Import the libraries that a file's schema names, and return their versions.

    Raises LoadError with the pip extra if one is not installed. Their runtimes are imported, since
    these also keep a library from printing.
    """
    names = sorted({match[1].decode() for match in _MODULES.finditer(schema)})
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    version: str = getattr(getattr(runtime_module(name), name), "__version__")  # noqa: B009
    return version


def check_texts(schema: bytes) -> None:
    """Check every text of a LightGBM model in a file with this schema, before it is loaded.

    Raises LoadError. XGBoost's are checked once they are loaded, by `booster_hazard`.
    """
    # Judged as parsed: JSON can write any character in another way.
    texts: list[str] = []
    has_lightgbm = False
    nodes = [json.loads(schema)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            has_lightgbm |= str(node.get("__module__")).startswith("lightgbm.")
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, str):
            # skops writes a value as the JSON of it.
            try:
                nodes.append(json.loads(node))
            except ValueError:
                texts.append(node)
    for text in texts:
        if has_lightgbm and _TREE.search(text):
            check_text(text)


def booster_hazard(part: object) -> str:
    """The hazard of an estimator of XGBoost, "" for any other part; raises LoadError."""
    if type(part).__module__ != "xgboost.sklearn":
        return ""
    booster = part.__dict__.get("_Booster")
    return check_booster(bytes(booster.save_raw("ubj"))) if booster is not None else ""


def is_booster(part: object) -> bool:
    """Whether a part is an estimator of XGBoost or LightGBM."""
    return type(part).__module__ in ("xgboost.sklearn", "lightgbm.sklearn")


def needs_lock(parts: Iterable[object]) -> bool:
    """Whether a model may predict in one thread only: XGBoost's linear booster changes itself."""
    return any(is_booster(part) and getattr(part, "booster", "") == "gblinear" for part in parts)


def adapt_booster(part: object) -> None:
    """Make a fitted estimator of a boosting library silent, single-threaded and run on the CPU.

    Raises LoadError for one that needs a data frame, or without its trees.
    """
    if not is_booster(part):
        return
    attributes = part.__dict__
    booster = attributes.get("_Booster")
    if booster is None:
        return
    if type(part).__module__ == "xgboost.sklearn":
        _require_trees(getattr(booster, "handle", None))
        booster.set_param({"nthread": 1, "device": "cpu", "verbosity": 0})
        # The linear booster would refuse an array, which has no names.
        booster.feature_names = None
        attributes.update(verbosity=0, device="cpu")
        # With the parameter `feature_types`, the categories are numbers of an array.
        if "c" in (booster.feature_types or ()) and attributes.get("feature_types") is None:
            raise LoadError(_categorical_message("XGBoost", "model.save_model('model.ubj')"))
    else:
        _require_trees(getattr(booster, "_handle", None))
        # LightGBM prints unless this is negative.
        attributes["verbose"] = -1
        if booster.pandas_categorical:
            message = _categorical_message("LightGBM", "model.booster_.save_model('model.txt')")
            raise LoadError(message)
        # Like scikit-learn's own estimators, it would warn about an array in every call.
        attributes["_fitted_with_feature_names"] = False


def _require_trees(handle: object) -> None:
    if not handle:
        raise LoadError("the file is damaged: it contains a booster without trees")


def _categorical_message(library: str, export: str) -> str:
    return (
        f"the {library} model takes categorical columns of a data frame, which a .skops file "
        f"cannot hand to it: register the model alone, from {export}, or encode the categories "
        "with an OrdinalEncoder in the pipeline"
    )
