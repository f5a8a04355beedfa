"""TLS messages for tests: real ones, and such as no library sends."""

import ssl

WRONG_NAME = b"\x15\x03\x01\x00\x02\x01\x70"  # RFC 6066 3: a warning
REFUSAL = b"\x15\x03\x03\x00\x02\x02\x28"  # a fatal alert: handshake_failure
SERVER_HELLO = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26" + bytes(38)


def real_hello(host: str = "shop.farm.test") -> bytes:
    """What this Python's OpenSSL says first."""
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def extension(kind: int, body: bytes = b"") -> bytes:
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def hello_body(extensions: bytes | None = b"") -> bytes:
    """A ClientHello without its header; None: none, as TLS 1.0 had."""
    body = b"\x03\x03" + bytes(32) + b"\x02ab" + b"\x00\x02\x13\x01" + b"\x01\x00"
    if extensions is None:
        return body
    return body + len(extensions).to_bytes(2, "big") + extensions


def message(body: bytes, kind: int = 1) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def record(fragment: bytes, kind: int = 22) -> bytes:
    return bytes((kind, 3, 1)) + len(fragment).to_bytes(2, "big") + fragment


def hello(extensions: bytes | None = b"") -> bytes:
    return record(message(hello_body(extensions)))
