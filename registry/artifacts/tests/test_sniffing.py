"""Frameworks are detected by content, and other files are rejected with what they are."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import lightgbm
import pytest

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.sniffing import check_framework, sniff
from registry.testing import trained_models


def write(folder: Path, content: bytes, name: str = "model") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("train", "name", "framework"),
    [
        (trained_models.iris_skops, "m.skops", "sklearn"),
        (trained_models.iris_onnx, "m.onnx", "onnx"),
        (trained_models.iris_xgboost, "m.ubj", "xgboost"),
        (trained_models.iris_xgboost, "m.json", "xgboost"),
        (trained_models.iris_lightgbm, "m.txt", "lightgbm"),
        (trained_models.iris_catboost, "m.cbm", "catboost"),
    ],
)
def test_a_framework_is_detected_by_content_alone(
    train: Callable[[Path], trained_models.Trained], name: str, framework: str, tmp_path: Path
) -> None:
    misnamed = train(tmp_path / name).path.rename(tmp_path / "model.bin")

    assert check_framework(misnamed, None) == framework
    assert check_framework(misnamed, framework) == framework


def test_a_framework_that_contradicts_the_content_is_rejected(tmp_path: Path) -> None:
    path = trained_models.iris_onnx(tmp_path / "m.onnx").path

    with pytest.raises(ArtifactRejected, match=r"'sklearn'.*'onnx'") as caught:
        check_framework(path, "sklearn")

    assert list(caught.value.errors) == ["framework"]


def test_a_damaged_archive_is_rejected(tmp_path: Path) -> None:
    for content in (b"PK", b"PK\x03\x04", b"PK\x03\x04" + bytes(100)):
        with pytest.raises(ArtifactRejected, match="damaged or truncated"):
            sniff(write(tmp_path, content))


def test_a_zip_bomb_is_rejected(tmp_path: Path) -> None:
    bomb = zipped(**{"schema.json": b"{}", "bomb": bytes(100 * 2**20)})

    with pytest.raises(ArtifactRejected, match="unpacks to"):
        sniff(write(tmp_path, bomb))


@pytest.mark.parametrize(
    "ending", [b"pandas_categorical:nu", b'pandas_categorical:[["a"', b"pandas_cat"]
)
def test_a_lightgbm_file_cut_in_its_last_line_is_rejected(ending: bytes, tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"pandas_categorical")] + ending)

    with pytest.raises(ArtifactRejected, match="last line is incomplete"):
        sniff(path)


def test_a_file_of_the_lightgbm_command_line_tool_is_accepted(tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"pandas_categorical")])

    assert sniff(path) == "lightgbm"


@pytest.mark.parametrize("version", ["v2", "v3", "v4"])
def test_a_lightgbm_file_of_a_version_that_lightgbm_reads_is_accepted(
    version: str, tmp_path: Path
) -> None:
    trained = trained_models.iris_lightgbm(tmp_path / "m.txt")
    whole = trained.path.read_text()
    trained.path.write_text(whole.replace("version=v4", f"version={version}"))

    assert sniff(trained.path) == "lightgbm"
    again = lightgbm.Booster(model_file=trained.path)
    assert (again.predict(trained.rows) == trained.estimator.predict_proba(trained.rows)).all()


def early_v2(text: str) -> str:
    """The file as the first LightGBM of v2 wrote it: no marker behind the trees, no parameters."""
    trees, _, _ = text.replace("version=v4", "version=v2").partition("end of trees")
    return f"{trees}\nfeature importances:\nColumn_2=14\nColumn_3=12\n\npandas_categorical:null\n"


def test_a_lightgbm_file_without_a_marker_behind_its_trees_is_accepted(tmp_path: Path) -> None:
    trained = trained_models.iris_lightgbm(tmp_path / "m.txt")
    whole = early_v2(trained.path.read_text())
    for text in (whole, whole.removesuffix("\npandas_categorical:null\n")):
        trained.path.write_text(text)

        assert sniff(trained.path) == "lightgbm"
        again = lightgbm.Booster(model_file=trained.path)
        assert (again.predict(trained.rows) == trained.estimator.predict_proba(trained.rows)).all()


@pytest.mark.parametrize(
    ("end", "message"),
    [("feature imp", "lacks 'end of trees'"), ("pandas_categorical:nu", "last line is incomplete")],
)
def test_a_cut_lightgbm_file_without_a_marker_is_rejected(
    end: str, message: str, tmp_path: Path
) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = early_v2(path.read_text())
    path.write_text(whole[: whole.index(end) + len(end)])

    with pytest.raises(ArtifactRejected, match=message):
        sniff(path)


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ("version=v5\n", r"has the format 'v5', of a newer LightGBM.*v2, v3, v4.*save_model"),
        ("", r"names no version of its format, so an early LightGBM.*v2, v3, v4.*save_model"),
    ],
)
def test_a_lightgbm_file_of_another_version_is_rejected_with_its_version(
    replacement: str, message: str, tmp_path: Path
) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    path.write_text(path.read_text().replace("version=v4\n", replacement))

    with pytest.raises(ArtifactRejected, match=message):
        sniff(path)


@pytest.mark.parametrize("size", [5, 40, 300, 4000])
def test_a_lightgbm_file_that_is_cut_is_damaged(size: int, tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(ArtifactRejected, match="damaged or truncated"):
        sniff(path)


def test_an_xgboost_file_that_is_cut_is_damaged(tmp_path: Path) -> None:
    path = trained_models.iris_xgboost(tmp_path / "m.json").path
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(ArtifactRejected, match="the XGBoost model has no end"):
        sniff(path)


def test_a_large_file_is_not_read_completely(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as sparse:
        sparse.truncate(2**34)

    with pytest.raises(ArtifactRejected, match="not a model file"):
        sniff(path)
