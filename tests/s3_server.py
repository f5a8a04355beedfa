"""A bucket server on loopback that believes only what is signed rightly (AWS Signature v4).

The signature is computed anew from what arrived, by Amazon's description of it.
"""

import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


class S3Server:
    """`objects` by the path of the endpoint, decoded: ``b"/bucket/key"``.

    `moved` answers a redirect to that URL for everything.
    """

    def __init__(self, keys: Mapping[str, str], objects: Mapping[bytes, bytes]) -> None:
        self.keys = keys
        self.objects = objects
        self.moved: str | None = None
        self.requests: list[HTTPServerRequest] = []
        self.regions: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: HTTPServerRequest) -> None:
        self.requests.append(request)
        headers = HTTPHeaders()
        found = self.objects.get(unquote_to_bytes(request.path))
        if not self.is_signed(request):
            status, reason, body = 403, "Forbidden", b"SignatureDoesNotMatch"
        elif self.moved is not None:
            status, reason, body = 307, "Temporary Redirect", b""
            headers["Location"] = self.moved
        elif found is None:
            status, reason, body = 404, "Not Found", b"NoSuchKey"
        else:
            status, reason, body = 200, "OK", found
        headers["Content-Length"] = str(len(body))
        assert request.connection is not None
        request.connection.write_headers(ResponseStartLine("HTTP/1.1", status, reason), headers)
        if request.method != "HEAD":
            request.connection.write(body)
        request.connection.finish()

    def is_signed(self, request: HTTPServerRequest) -> bool:
        match = AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        secret = self.keys.get(match[1]) if match else None
        if match is None or secret is None:
            return False
        _, day, region, names, signature = match.groups()
        self.regions.append(region)
        digest = hashlib.sha256(request.body or b"").hexdigest()
        said = request.headers["X-Amz-Content-Sha256"]
        fields = names.split(";")
        canonical = "\n".join(
            [
                str(request.method),
                _encoded(unquote_to_bytes(request.path), "/"),
                _canonical_query(request.query),
                *(f"{name}:{' '.join(request.headers[name].split())}" for name in fields),
                "",
                names,
                said,
            ]
        )
        scope = f"{day}/{region}/s3/aws4_request"
        stamp = request.headers["X-Amz-Date"]
        to_sign = "\n".join(
            ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = f"AWS4{secret}".encode()
        for part in (day, region, "s3", "aws4_request", to_sign):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        fits = said == digest and {"host", "x-amz-date"} <= set(fields)
        return fits and stamp.startswith(day) and hmac.compare_digest(key.hex(), signature)


def _encoded(text: bytes | str, safe: str = "") -> str:
    return quote(text, safe=safe + "-_.~")


def _canonical_query(query: str) -> str:
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    return "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs))


@asynccontextmanager
async def s3_server(
    keys: Mapping[str, str], objects: Mapping[bytes, bytes]
) -> AsyncIterator[S3Server]:
    """A running one; `keys` are access keys and their secrets."""
    server = S3Server(keys, objects)
    listener = HTTPServer(server.answer)
    [socket] = bind_sockets(0, "127.0.0.1")
    listener.add_sockets([socket])
    server.port = socket.getsockname()[1]
    try:
        yield server
    finally:
        listener.stop()
        await listener.close_all_connections()
