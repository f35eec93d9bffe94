"""What loading a pickle would execute is listed, without executing it."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from registry.artifacts.errors import ArtifactRejected
from registry.conversion.pickles.imports import risk
from registry.conversion.pickles.listing import UNPACKED, list_imports
from registry.conversion.pickles.unpacking import unpack

ROWS = np.random.default_rng(0).random((60, 3))
LABELS = (ROWS[:, 0] > 0.5).astype(int)
MARK = "executed"


def models() -> list[Any]:
    return [
        LogisticRegression().fit(ROWS, LABELS),
        RandomForestClassifier(3).fit(ROWS, LABELS),
        HistGradientBoostingClassifier(max_iter=2).fit(ROWS, LABELS),
        KNeighborsClassifier(algorithm="kd_tree").fit(ROWS, LABELS),
        make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["ab cd", "ef"] * 5, [0, 1] * 5),
        make_pipeline(OneHotEncoder(), LogisticRegression()).fit(
            np.array([["a"], ["b"]] * 5, dtype=object), [0, 1] * 5
        ),
        xgboost.XGBClassifier(n_estimators=2, verbosity=0).fit(ROWS, LABELS),
        xgboost.XGBClassifier(n_estimators=2, verbosity=0).fit(ROWS, LABELS).get_booster(),
        lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(ROWS, LABELS),
        lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(ROWS, LABELS).booster_,
    ]


def listed(content: bytes, folder: Path) -> dict[str, Any]:
    path = folder / "model.pkl"
    path.write_bytes(content)
    return list_imports({"path": str(path), "folder": str(folder)})


def risks(reply: dict[str, Any]) -> dict[str, str]:
    return {name: risk(name) for name, _ in reply["imports"]}


def by_joblib(model: object, compress: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=compress)
    return buffer.getvalue()


class Runs:
    """A pickle of this executes a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_real_model_imports_only_known_names(model: Any, tmp_path: Path) -> None:
    expected = f"{type(model).__module__}.{type(model).__qualname__}"
    contents = [pickle.dumps(model, protocol) for protocol in (0, 1, 2, 3, 4, 5)]
    contents += [cloudpickle.dumps(model), by_joblib(model, 0)]

    for content in contents:
        reply = listed(content, tmp_path)

        assert reply["root"] == expected
        assert set(risks(reply).values()) == {"known"}


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bz2", "xz", "lzma"])
def test_a_compressed_joblib_file_is_read(compression: str, tmp_path: Path) -> None:
    model = RandomForestClassifier(3).fit(ROWS, LABELS)

    reply = listed(by_joblib(model, (compression, 3)), tmp_path)

    assert (reply["writer"], reply["compression"]) == ("joblib", compression)
    assert reply["root"] == "sklearn.ensemble._forest.RandomForestClassifier"
    assert reply["versions"].keys() == {"scikit-learn"}
    with (tmp_path / UNPACKED).open("rb") as file:
        assert (joblib.load(file).predict(ROWS) == model.predict(ROWS)).all()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zlib.compress])
def test_a_compressed_plain_pickle_is_read(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = pickle.dumps(LogisticRegression().fit(ROWS, LABELS))

    assert listed(compress(content), tmp_path)["writer"] == "pickle"
    assert (tmp_path / UNPACKED).read_bytes() == content


def test_arrays_of_objects_between_the_opcodes_are_followed(tmp_path: Path) -> None:
    """joblib writes them as pickles of their own, which can import anything."""
    content = by_joblib({"a": np.array([Runs("true"), 2.5], dtype=object), "b": ROWS}, 0)

    assert risks(listed(content, tmp_path))["posix.system"] == "dangerous"


def test_a_command_is_listed_with_its_arguments_and_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / MARK

    reply = listed(pickle.dumps(Runs(f"touch {mark}")), tmp_path)

    assert reply["imports"] == [("posix.system", f"('touch {mark}')")]
    assert risk("posix.system") == "dangerous"
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"c__builtin__\neval\n(S'1+1'\ntR.", "builtins.eval"),
        (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\x02ls\x85R.", "posix.system"),
        # The name is assembled at run time, so it is in no opcode.
        (b"cbuiltins\ngetattr\n(cos\npath\nS'join'\ntR(S'x'\ntR.", "builtins.getattr"),
        (pickle.dumps(eval), "builtins.eval"),
        (cloudpickle.dumps(lambda x: x + 1), "cloudpickle.cloudpickle._make_function"),
        (b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.", "numpy.testing._private"),
        (b"cjoblib\nload\n(S'x'\ntR.", "joblib.load"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"csubprocess\nPopen\n(S'ls'\ntR.", "subprocess.Popen"),
        (b"cimportlib\nimport_module\n(S'x'\ntR.", "importlib.import_module"),
    ],
)
def test_names_that_run_code_are_dangerous(content: bytes, name: str, tmp_path: Path) -> None:
    found = risks(listed(content, tmp_path))

    assert {level for key, level in found.items() if key.startswith(name)} == {"dangerous"}


def test_your_own_code_is_unknown(tmp_path: Path) -> None:
    assert risks(listed(b"cmycompany.steps\nClipper\n)R.", tmp_path)) == {
        "mycompany.steps.Clipper": "unknown"
    }
    assert risk("sklearn.utils.anything") == "unknown"
    assert risk("numpy.vectorize") == "unknown"


def test_the_archive_of_torch_is_recognised(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81.")

    reply = listed(buffer.getvalue(), tmp_path)

    assert (reply["writer"], reply["root"]) == ("torch", "torch.nn.modules.linear.Linear")
    assert risk(reply["root"]) == "dangerous"


def test_the_old_format_of_torch_is_recognised(tmp_path: Path) -> None:
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    content = b"".join(pickle.dumps(part, 2) for part in parts)
    content += b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}X\x01\x00\x00\x00wX\x01\x00"
    content += b"\x00\x00kQsb."

    reply = listed(content, tmp_path)

    assert (reply["writer"], reply["root"]) == ("torch", "torch.nn.modules.linear.Linear")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "not a pickle"),
        (b"hello world", "not a pickle"),
        (np.random.default_rng(0).bytes(2000), "not a pickle|damaged|truncated"),
        (pickle.dumps(LogisticRegression().fit(ROWS, LABELS))[:200], "a damaged one"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0), "not a pickle"),
        (gzip.compress(pickle.dumps([1] * 999), mtime=0)[:-20], "truncated|damaged"),
        (b"BZh9" + b"x" * 100, "damaged"),
        (b"PK\x03\x04" + b"x" * 100, "damaged"),
        (b"ZF0x12" + b"x" * 100, "joblib before 0.10"),
        (b"c__main__\nMine\n)R.", "your own code.*__main__.Mine"),
        (b"cjoblib.numpy_pickle\nNDArrayWrapper\n)R.", "joblib before 0.10"),
        (b"".join(b"cm\nn%d\n" % i for i in range(3000)) + b".", "more than 2,000 names"),
    ],
)
def test_what_is_no_usable_pickle_is_rejected(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected, match=message):
        listed(content, tmp_path)


def test_lz4_names_the_package_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    path = tmp_path / "model.joblib"
    path.write_bytes(b"\x04\x22\x4d\x18" + b"x" * 100)

    with pytest.raises(ArtifactRejected, match="pip install lz4"):
        unpack(path, tmp_path / UNPACKED)
