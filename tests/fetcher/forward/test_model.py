import pytest

from fetcher.forward.model import Authority


@pytest.mark.parametrize(
    ("authority", "text"),
    [
        (Authority("site.test", 443), "site.test:443"),
        (Authority("127.0.0.1", 8443), "127.0.0.1:8443"),
        (Authority("::1", 443), "[::1]:443"),
    ],
)
def test_an_authority_is_written_as_in_a_request(authority: Authority, text: str) -> None:
    assert authority.text == text
    assert authority.url == f"https://{text}/"
