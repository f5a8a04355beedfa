from collections.abc import Iterator

import pytest

from tests.docs.blocks import find_documents, read_blocks
from tests.docs.stage import Stage
from tests.docs.typed import find_type_errors


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The demo service and the folders of the documents, one for the whole run."""
    with Stage.set_up(tmp_path_factory.mktemp("docs")) as stage:
        yield stage


@pytest.fixture(scope="session")
def type_errors(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of all programs in the documents, and of one that is wrong."""
    blocks = (block for path in find_documents() for block in read_blocks(path))
    return find_type_errors(tmp_path_factory.mktemp("programs"), blocks)
