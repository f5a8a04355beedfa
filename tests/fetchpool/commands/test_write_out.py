import pytest

from fetcher.errors import TaskError
from fetcher.model import Result, Timing
from fetchpool.commands.write_out import VARIABLES, Told, check_format, render

RESULT = Result(
    status_code=200,
    orig_url="http://h/a",
    url="HTTPS://h/b",
    headers={"Content-Type": "text/html", "ETag": "x"},
    content=b"12345",
    time=0.5,
    timing=Timing(dns=0.125, connect=0.25, tls=0.0625, first_byte=0.45, total=0.46),
)
TOLD = Told(
    answered=True, method="GET", redirects=1, address="127.0.0.1", number=2, file="out"
)  # fmt: skip
FAILED = Result(status_code=599, orig_url="http://h/", url="http://h/", error="HTTP 599: no")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (r"a\n\t\r\x%%|%|%z", "a\n\t\r\\x%|%|%z"),
        ("%{http_code} %{response_code}", "200 200"),
        ("%{url} %{url_effective} %{scheme}", "http://h/a HTTPS://h/b https"),
        ("%{size_download} %{speed_download}", "5 10"),
        ("%{content_type}|%header{etag}|%header{none}", "text/html|x|"),
        ("%{time_namelookup} %{time_connect}", "0.125000 0.375000"),
        ("%{time_appconnect} %{time_pretransfer}", "0.437500 0.437500"),
        ("%{time_starttransfer} %{time_total}", "0.450000 0.500000"),
        ("%{method} %{num_redirects} %{remote_ip} %{urlnum}", "GET 1 127.0.0.1 2"),
        ("%{filename_effective} %{exitcode}%{errormsg}", "out 0"),
    ],
)
def test_a_format_is_filled_in_as_by_curl(text: str, expected: str) -> None:
    check_format(text)
    assert render(text, RESULT, TOLD) == expected


def test_without_an_answer_there_is_no_code() -> None:
    told = Told(answered=False, method="", redirects=0, address="", number=0, file="")
    text = "%{http_code} %{exitcode} %{errormsg} %{speed_download} %{time_appconnect}"
    assert render(text, FAILED, told) == "000 1 HTTP 599: no 0 0.000000"


def test_every_variable_that_is_named_is_known() -> None:
    for name in VARIABLES:
        assert "%" not in render(f"%{{{name}}}", RESULT, TOLD)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("%{local_port}", "-w: %{local_port} is not known here; known are content_type, "),
        ("%{}", "-w: %{} is not known here"),
        ("%{http_code}%{stderr}", "-w: %{stderr} is not there: all of it goes to standard output"),
    ],
)
def test_another_variable_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(TaskError) as caught:
        check_format(text)
    assert str(caught.value).startswith(said)
