"""XML-RPC messages: the bytes of a call to a `Call`, values and faults to bytes.

It does no I/O and decides nothing but what is refused. The reading is Python's own
(`xmlrpc.client.Unmarshaller`) behind defusedxml's parser; this module adds the limits that both
lack, and patches neither.
"""

import re
from enum import IntEnum
from typing import Any, Final
from xml.parsers.expat import ExpatError
from xmlrpc import client

import msgspec
from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.xmlrpc import DefusedExpatParser  # type: ignore[import-untyped]

from fetcher.errors import FetchpoolError

# Elements within each other. A list or struct takes three, so these are some 65 levels of values;
# pyspider's tasks need five, and msgpack's readers give up at a few hundred.
MAX_DEPTH: Final = 200

# Expat reads a tag at once, holding the interpreter: 1.4 s for 800,000 attributes. The longest tag
# of XML-RPC has 19 bytes; expat may lag behind by twice what it has not got to the end of.
PIECE: Final = 65_536

# What the unmarshaller of the standard library raises over input that makes no sense to it.
_NONSENSE: Final = (
    client.Error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError
)  # fmt: skip

# What stands around values. Other tags are refused: Expat keeps each name that it has seen.
_AROUND: Final = frozenset({"methodCall", "param", "member", "data"})

# What XML 1.0 cannot carry, not even escaped: one such character makes an answer unreadable.
_UNSENDABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "boolean",
    bytes: "base64",
    dict: "struct",
    float: "double",
    int: "int",
    list: "array",
    str: "string",
    type(None): "nil",
}


class FaultCode(IntEnum):
    """The usual codes of faults (the interoperability proposal by Dan Libby)."""

    NOT_XML = -32700
    NO_CALL = -32600
    NO_METHOD = -32601
    BAD_PARAMS = -32602
    BUSY = -32500


class Fault(FetchpoolError):
    """The call is refused; `str` of it is for the caller."""

    def __init__(self, code: FaultCode, words: str) -> None:
        super().__init__(words)
        self.code = code


class Call(msgspec.Struct, frozen=True):
    """base64 is bytes, a date its text as it stands, nil None."""

    method: str
    params: tuple[Any, ...] = ()


def parse_call(body: bytes) -> Call:
    """Raises `Fault` for anything but one well-formed call without a document type."""
    reader = _Reader(use_builtin_types=True)
    parser = DefusedExpatParser(reader, forbid_dtd=True)
    try:
        _feed(parser, body)
        parser.close()
        params = reader.close()
    except DefusedXmlException as error:  # a ValueError, so before the others
        raise Fault(FaultCode.NOT_XML, "a document type or entities: refused") from error
    except ExpatError as error:
        raise Fault(FaultCode.NOT_XML, f"not well-formed XML: {error}") from error
    except _NONSENSE as error:
        raise Fault(FaultCode.NO_CALL, f"no XML-RPC call: {_words(error)}") from error
    method = reader.getmethodname()
    if method is None:
        raise Fault(FaultCode.NO_CALL, "no XML-RPC call: it names no method")
    return Call(method, params)


def _feed(parser: DefusedExpatParser, body: bytes) -> None:
    expat = parser._parser
    for end in range(PIECE, len(body) + PIECE, PIECE):
        parser.feed(body[end - PIECE : end])
        if min(end, len(body)) - expat.CurrentByteIndex > 2 * PIECE:
            raise Fault(FaultCode.NOT_XML, f"a tag or comment of more than {PIECE} bytes")


def encode_value(value: Any) -> bytes:
    """The answer that carries `value`."""
    xml = client.dumps((value,), methodresponse=True, allow_none=True)
    if not isinstance(value, bytes):  # the whole of a big base64 would be searched for nothing
        xml = _UNSENDABLE.sub("\ufffd", xml)
    return xml.encode()


def encode_fault(fault: Fault) -> bytes:
    """The answer that says no."""
    return _UNSENDABLE.sub(
        "\ufffd", client.dumps(client.Fault(int(fault.code), str(fault)))
    ).encode()


def type_name(value: Any) -> str:
    """What XML-RPC calls the type of a value that was read."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


class _Reader(client.Unmarshaller):
    """The standard library's, with a bounded depth and without its bomb.

    Its text stays in place after an element's end, so each of many ``<string>`` around one long
    text would hold a copy of it. And its dates accept one spelling of ISO 8601 only, at 10 us.
    """

    dispatch = {**client.Unmarshaller.dispatch}  # noqa: RUF012 - as in the base class
    dispatch["dateTime.iso8601"] = client.Unmarshaller.end_string

    def __init__(self, *, use_builtin_types: bool) -> None:
        super().__init__(use_builtin_types=use_builtin_types)
        self._depth = 0

    def start(self, tag: str, attrs: Any) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Fault(FaultCode.NO_CALL, f"more than {MAX_DEPTH} elements within each other")
        name = tag.rpartition(":")[2]  # ex:nil, ex:i8
        if name not in self.dispatch and name not in _AROUND:
            raise Fault(FaultCode.NO_CALL, f"no XML-RPC call: unknown tag {tag[:40]!r}")
        super().start(tag, attrs)

    def end(self, tag: str) -> None:
        self._depth -= 1
        super().end(tag)
        self._data: list[str] = []


def _words(error: Exception) -> str:
    return str(error)[:200] or "values are missing or do not match"
