from collections.abc import Iterator

import pytest

from tests.docs.stage import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The demo service and the folders of the documents, one for the whole run."""
    with Stage.set_up(tmp_path_factory.mktemp("docs")) as stage:
        yield stage
