"""What `sniff` says of a file with some content."""

from collections.abc import Callable
from pathlib import Path

import pytest

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.sniffing import sniff


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[bytes], str]:
    """The message with which a file is refused; its name says nothing."""

    def message_of(content: bytes) -> str:
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        with pytest.raises(ArtifactRejected) as caught:
            sniff(path)
        return str(caught.value)

    return message_of
