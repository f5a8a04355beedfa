"""Takes tasks and gives results; works without any pool."""

from typing import Final

VERSION: Final = "0.1.0"
