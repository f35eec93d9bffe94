"""Pickles are recognised by their opcodes, and named by what they hold."""

import bz2
import gzip
import io
import lzma
import pickle
import zlib
from collections import OrderedDict
from collections.abc import Callable

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from registry.artifacts.foreign.pickles import is_text_pickle

CONVERT = "python manage.py convert_pickle FILE --to skops"
ROWS, LABELS = load_iris(return_X_y=True)
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS)
# torch.save wrote this before version 1.6: a number, the protocol, and then the module.
OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_named_by_its_class(refusal: Callable[[bytes], str], protocol: int) -> None:
    message = refusal(pickle.dumps(PIPELINE, protocol))

    assert "a pickle of sklearn.pipeline.Pipeline" in message
    assert "skops.io.dump(model, 'model.skops')" in message
    assert CONVERT in message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value", [{"model": [1, 2.5, "a", None, True]}, (1, 2), [], OrderedDict(a=1), "V", 5]
)
def test_a_pickle_of_plain_values_is_a_pickle(
    refusal: Callable[[bytes], str], value: object, protocol: int
) -> None:
    assert "a pickle of protocol" in refusal(pickle.dumps(value, protocol))


@pytest.mark.parametrize("protocol", [0, 1])
def test_a_long_pickle_of_text_is_recognised_by_its_start(
    refusal: Callable[[bytes], str], protocol: int
) -> None:
    content = pickle.dumps([f"row {i}" for i in range(20_000)], protocol)

    assert len(content) > 2**17
    assert "a pickle of protocol 0 or 1" in refusal(content)


def test_a_crafted_name_is_not_quoted(refusal: Callable[[bytes], str]) -> None:
    crafted = b"\x80\x04\x8c\x05a\xed\xb2\x80b\x94\x8c\x01c\x94\x93\x94."

    message = refusal(crafted)

    assert "a pickle of protocol 4." in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b"city\nname\n",
        b"(a, b)\n",
        b"csv\nname\n..",
        b"Name,age\nada,36\n",
        b"I1\nI2\nI3\n",
        b"Please see the list\n",
        b"N",
        b"]\n",
        b"Victor\n" * 9,
    ],
)
def test_a_text_of_letters_that_are_opcodes_is_no_pickle(text: bytes) -> None:
    assert not is_text_pickle(text, is_whole=True)
    assert not is_text_pickle(text, is_whole=False)


@pytest.mark.parametrize(
    ("model", "save"),
    [
        (
            xgboost.XGBClassifier(n_estimators=1, n_jobs=1),
            "XGBoost's model.save_model('model.ubj')",
        ),
        (
            lightgbm.LGBMClassifier(n_estimators=1, n_jobs=1, verbose=-1),
            "LightGBM's model.booster_.save_model('model.txt')",
        ),
    ],
    ids=["xgboost", "lightgbm"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickled_booster_is_saved_in_its_own_format(
    refusal: Callable[[bytes], str], model: object, save: str, protocol: int
) -> None:
    model.fit(ROWS, LABELS)  # type: ignore[attr-defined]

    assert save in refusal(pickle.dumps(model, protocol))


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bz2", "xz", "lzma"])
def test_a_compressed_joblib_file_is_named(
    refusal: Callable[[bytes], str], compression: str
) -> None:
    buffer = io.BytesIO()
    joblib.dump(PIPELINE, buffer, compress=(compression, 3))

    message = refusal(buffer.getvalue())

    assert f"a pickle of sklearn.pipeline.Pipeline (protocol 4), compressed by {compression}" in (
        message
    )
    assert CONVERT in message


def test_files_of_joblib_and_cloudpickle_are_pickles(refusal: Callable[[bytes], str]) -> None:
    buffer = io.BytesIO()
    joblib.dump(PIPELINE, buffer)

    for content in (
        buffer.getvalue(),
        cloudpickle.dumps(PIPELINE),
        cloudpickle.dumps(lambda x: x + np.float64(1)),
        b"\x04\x22\x4d\x18" + buffer.getvalue(),
        b"ZF" + b"0x10".ljust(19) + zlib.compress(buffer.getvalue()),
    ):
        message = refusal(content)
        assert "pickle" in message
        assert CONVERT in message


def test_an_old_pytorch_file_is_exported_by_pytorch(refusal: Callable[[bytes], str]) -> None:
    message = refusal(OLD_TORCH)

    assert "an old PyTorch file" in message
    assert "torch.onnx.export(" in message


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_compressed_file_is_refused(
    refusal: Callable[[bytes], str], compress: Callable[[bytes], bytes]
) -> None:
    assert "compressed by" in refusal(compress(pickle.dumps(PIPELINE))[:12] + bytes(100))
