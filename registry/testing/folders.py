from pathlib import Path


def files_below(folder: Path) -> list[str]:
    """The files in a folder and its subfolders, by their relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
