"""What s3:// URLs mean."""

import pytest

from fetcher.errors import TaskError
from fetcher.model import Task
from fetcher.task.request import Defaults, build_plan
from fetcher.task.s3 import S3, build_s3_url, read_s3, sign
from fetcher.task.schemes import build_special
from fetcher.urls import MAX_URL

DEFAULTS = Defaults(user_agent="us/1", retries=2)
KEYS = S3(access_key="AKID", secret_key="hidden", token="tok-1")

A = "amazonaws.com"
S3_URLS = [
    ("s3://bucket/key", {}, f"https://bucket.s3.us-east-1.{A}/key"),
    ("s3://bucket", {}, f"https://bucket.s3.us-east-1.{A}/"),
    ("s3://bucket/k", {"region": "eu-west-3"}, f"https://bucket.s3.eu-west-3.{A}/k"),
    ("s3://bucket/k", {"region": "cn-north-1"}, f"https://bucket.s3.cn-north-1.{A}.cn/k"),
    ("s3://bucket/a\\b//c?d", {}, f"https://bucket.s3.us-east-1.{A}/a%5Cb//c?d"),
    ("s3://bucket/k?#f", {}, f"https://bucket.s3.us-east-1.{A}/k?"),
    ("s3://my.bucket/k", {}, f"https://s3.us-east-1.{A}/my.bucket/k"),
    ("s3://My_Bucket/k", {}, f"https://s3.us-east-1.{A}/My_Bucket/k"),
    ("s3://bucket/k", {"endpoint": "http://[::1]:9000"}, "http://[::1]:9000/bucket/k"),
    ("s3://bucket/k", {"endpoint": "https://h/p/"}, "https://h/p/bucket/k"),
    ("S3://bucket/a//b/?x=1&y#f", {"endpoint": "http://h"}, "http://h/bucket/a//b/?x=1&y"),
    (
        "s3://bucket/a b+é!$&'()*,:;=@~%2B%7e%2F",
        {"endpoint": "http://h"},
        "http://h/bucket/a%20b%2B%C3%A9%21%24%26%27%28%29%2A%2C%3A%3B%3D%40~%2B~/",
    ),
    ("s3://" + "a" * 63 + "/", {}, "https://" + "a" * 63 + f".s3.us-east-1.{A}/"),
    ("s3://" + "a" * 64 + "/", {}, f"https://s3.us-east-1.{A}/" + "a" * 64 + "/"),
    ("s3://" + "a" * 255 + "/", {}, f"https://s3.us-east-1.{A}/" + "a" * 255 + "/"),
]


@pytest.mark.parametrize(("url", "where", "asked"), S3_URLS)
def test_an_s3_url_becomes_an_https_url(url: str, where: dict[str, str], asked: str) -> None:
    assert build_s3_url(url, S3(**where)) == asked


BAD_S3 = [
    ("s3://", {}, "expected s3://bucket/key"),
    ("s3:///key", {}, "expected s3://bucket/key"),
    ("s3://ab/key", {}, "expected s3://bucket/key"),
    ("s3://" + "a" * 256, {}, "expected s3://bucket/key"),
    ("s3://AKID:hidden@bucket/key", {}, "expected s3://bucket/key"),
    ("s3://bucket:80/key", {}, "expected s3://bucket/key"),
    ("s3://-bucket/key", {}, "expected s3://bucket/key"),
    ("s3://bucket/a/../b", {}, "libcurl cannot"),
    ("s3://bucket/%2e%2E/other/key", {}, "libcurl cannot"),
    ("s3://bucket/a%2F..%2Fb", {}, "libcurl cannot"),
    ("s3://bucket/.", {}, "libcurl cannot"),
    ("s3://bucket/a\x01b", {}, "control characters"),
    ("s3://bucket/a\ud800", {}, "control characters"),
    ("s3://bucket/" + "a" * MAX_URL, {}, "at most"),
    ("s3://bucket/key", {"region": "h/?"}, "AWS_REGION"),
    ("s3://bucket/key", {"region": ""}, "AWS_REGION"),
    ("s3://bucket/key", {"endpoint": "http://u:hidden@h"}, "fetcher.s3.endpoint"),
    ("s3://bucket/key", {"endpoint": "http://h/?a"}, "fetcher.s3.endpoint"),
]


@pytest.mark.parametrize(("url", "where", "words"), BAD_S3)
def test_what_names_no_object_is_refused(url: str, where: dict[str, str], words: str) -> None:
    with pytest.raises(TaskError) as caught:
        build_s3_url(url, S3(**where))
    assert words in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_keys_and_region_come_from_amazons_variables() -> None:
    variables = {
        "AWS_ACCESS_KEY_ID": "a\n",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    s3 = read_s3("http://h", variables)
    assert (s3.access_key, s3.secret_key, s3.token) == ("a", "b", "c")
    assert (s3.endpoint, s3.region) == ("http://h", "eu-west-1")
    assert read_s3(None, {**variables, "AWS_REGION": "eu-west-2"}).region == "eu-west-2"
    assert read_s3(None, {}) == S3(endpoint=None, region="us-east-1")


@pytest.mark.parametrize(
    ("s3", "words"),
    [
        (S3(secret_key="hidden"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (S3(access_key="AKID"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (S3(access_key="a", secret_key="hidden", token="tok-1\r\nX: y"), "AWS_SESSION_TOKEN"),
        (S3(access_key="a", secret_key="hidden", token="tok-1é"), "AWS_SESSION_TOKEN"),
    ],
)
def test_keys_that_are_missing_or_unfit_are_named_not_shown(s3: S3, words: str) -> None:
    with pytest.raises(TaskError) as caught:
        build_special(Task(url="s3://bucket/k"), "s3", DEFAULTS, s3)
    assert words in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("hidden", "tok-1"))


def test_a_request_is_signed_with_the_keys_and_carries_the_token() -> None:
    plain = build_plan(Task(url="http://h/"), DEFAULTS).request
    signed = sign(plain, KEYS)
    assert (signed.signer, signed.url) == (KEYS, "http://h/")
    assert signed.headers == (b"User-Agent: us/1", b"X-Amz-Security-Token: tok-1")
    lasting = S3(access_key="AKID", secret_key="hidden")
    assert sign(plain, lasting).headers == (b"User-Agent: us/1",)


def test_no_key_is_shown() -> None:
    assert repr(KEYS) == "S3(region='us-east-1')"
