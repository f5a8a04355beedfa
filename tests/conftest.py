"""How long the tests search: hypothesis' profiles, and the size of what has a long version.

`make test` uses the profile "ci": the same cases in every run. `make soak` runs what is marked
`soak` under the profile "soak": minutes of fresh ones.
"""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100, print_blob=True)
settings.register_profile(
    "soak",
    deadline=None,
    max_examples=5000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")  # --hypothesis-profile goes before this

_LONG = 50  # times as much in `make soak`


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> int:
    """How many times its short size a test that has a long version shall take."""
    return _LONG if pytestconfig.getoption("--hypothesis-profile") == "soak" else 1
