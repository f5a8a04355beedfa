"""What s3:// URLs mean: the http URL that is asked, and with whose keys it is signed.

A decision module: the environment is an argument, and libcurl signs (AWS Signature v4).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

import msgspec
from msgspec.structs import asdict

from fetcher.errors import TaskError
from fetcher.model import Request
from fetcher.task.request import header_line
from fetcher.urls import fit_url

# What the URL becomes is judged by `fit_url`. Buckets of before 2018 may have upper case,
# underscores and up to 255 characters.
_BUCKET: Final = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9])(?=[/?#]|\Z)", re.I)
# Amazon's certificate is for one label before the region's name.
_ONE_LABEL: Final = re.compile(r"[a-z0-9-]{3,63}")
_DOT_SEGMENTS: Final = frozenset({b".", b".."})
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of characters


class S3(msgspec.Struct, frozen=True, kw_only=True):
    """Where s3:// leads and who asks. `endpoint` None is Amazon."""

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = ""
    token: str = ""  # of temporary keys

    def __repr__(self) -> str:
        return f"S3(region={self.region!r})"  # the rest is secret


class S3Request(Request, frozen=True, kw_only=True):
    """A request to S3, with an http or https `url`, that libcurl signs (AWS Signature v4)."""

    signer: S3


def read_s3(endpoint: str | None, variables: Mapping[str, str]) -> S3:
    """Amazon's usual environment variables, and the endpoint of the settings."""
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or "us-east-1"
    return S3(
        endpoint=endpoint,
        region=region.strip(),
        access_key=variables.get("AWS_ACCESS_KEY_ID", "").strip(),
        secret_key=variables.get("AWS_SECRET_ACCESS_KEY", "").strip(),
        token=variables.get("AWS_SESSION_TOKEN", "").strip(),
    )


def build_s3_url(url: str, s3: S3) -> str:
    """``s3://bucket/key?query`` as the URL that is asked. Raises `TaskError`.

    At Amazon the bucket is part of the host where its certificate allows that, else, and at any
    other endpoint, of the path. The key is encoded anew, as only one spelling is signed rightly.
    """
    url = url.strip(" \t\r\n")
    match = _BUCKET.match(url)
    if match is None:
        raise TaskError("expected s3://bucket/key, the bucket of letters, digits, '.', '-', '_'")
    if not _REGION.fullmatch(s3.region):
        raise TaskError("AWS_REGION: expected the name of a region, such as eu-central-1")
    bucket = match[1]
    if _CONTROL.search(url):
        raise TaskError("the URL contains control characters")
    # Not by the URL standard, for which a key "a\\b" were "a/b".
    rest, mark, query = url[match.end() :].partition("#")[0].partition("?")
    path = unquote_to_bytes(rest or "/")
    if _DOT_SEGMENTS.intersection(path.split(b"/")):
        # libcurl would take another object: it signs no path that it may not shorten.
        raise TaskError("the key has '.' or '..' between slashes: libcurl cannot ask for that")
    key = quote(path, safe="/~")
    return fit_url(_s3_place(bucket, s3) + key + mark + query)


def _s3_place(bucket: str, s3: S3) -> str:
    if s3.endpoint is not None:
        parts = urlsplit(s3.endpoint)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise TaskError("fetcher.s3.endpoint: expected a URL of scheme, host and path only")
        return f"{s3.endpoint.rstrip('/')}/{bucket}"
    domain = f"s3.{s3.region}.amazonaws.com"
    if s3.region.startswith("cn-"):
        domain += ".cn"
    if _ONE_LABEL.fullmatch(bucket):
        return f"https://{bucket}.{domain}"
    return f"https://{domain}/{bucket}"


def sign(request: Request, s3: S3) -> S3Request:
    if not s3.access_key or not s3.secret_key:
        raise TaskError(
            "s3:// needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        )
    fields = asdict(request)
    if s3.token:
        if not s3.token.isascii() or _CONTROL.search(s3.token):
            raise TaskError("AWS_SESSION_TOKEN: expected one line of ASCII")
        token = header_line("X-Amz-Security-Token", s3.token)
        fields["headers"] = (*request.headers, token)
    return S3Request(**fields, signer=s3)
