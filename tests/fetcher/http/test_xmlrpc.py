import base64
import datetime
import math
import time
import xmlrpc.client
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.http.xmlrpc import (
    MAX_DEPTH,
    PIECE,
    Call,
    Fault,
    FaultCode,
    encode_fault,
    encode_value,
    parse_call,
    type_name,
)

HEAD = "<methodCall><methodName>m</methodName>"
TAIL = "</methodCall>"


def call_with(value: str) -> bytes:
    return f"{HEAD}<params><param>{value}</param></params>{TAIL}".encode()


def refused(body: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        parse_call(body)
    return caught.value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<value>text</value>", "text"),
        ("<value/>", ""),
        ("<value> </value>", " "),
        ("<value><string>text</string></value>", "text"),
        ("<value><string>a&lt;b &#19981;</string></value>", "a<b 不"),
        ("<value><string><![CDATA[<b>]]></string></value>", "<b>"),
        ("<value><int>-7</int></value>", -7),
        ("<value><i8>4294967296</i8></value>", 4294967296),
        ("<value><double>2.5</double></value>", 2.5),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><nil/></value>", None),
        ("<value><ex:nil/></value>", None),
        ("<value><base64>aGVs\nbG8=</base64></value>", b"hello"),
        ("<value><dateTime.iso8601>20261120T12:55:22</dateTime.iso8601></value>",
         "20261120T12:55:22"),
        ("<value><dateTime.iso8601>2026-11-20T12:55:22Z</dateTime.iso8601></value>",
         "2026-11-20T12:55:22Z"),
        ("<value><bigdecimal>1.10</bigdecimal></value>", Decimal("1.10")),
        ("<value><array><data/></array></value>", []),
        ("<value><array><data><value>a</value>\n <value><nil/></value> </data></array></value>",
         ["a", None]),
        ("<value><struct/></value>", {}),
        ("<value><struct><member><name>k</name>\n<value><int>1</int></value></member>\n</struct>"
         "</value>", {"k": 1}),
    ],
)  # fmt: skip
def test_a_value_is_read(value: str, expected: Any) -> None:
    assert parse_call(call_with(value)) == Call("m", (expected,))


@pytest.mark.parametrize(
    "body",
    [
        f"{HEAD}{TAIL}".encode(),
        f"{HEAD}<params/>{TAIL}".encode(),
        f"<?xml version='1.0'?>\n<!-- a comment -->\n{HEAD}<params></params>{TAIL}\n".encode(),
        f"\ufeff{HEAD}{TAIL}".encode(),
        f"<?xml version='1.0' encoding='utf-16'?>{HEAD}{TAIL}".encode("utf-16"),
    ],
)
def test_a_call_without_arguments_is_read(body: bytes) -> None:
    assert parse_call(body) == Call("m", ())


ELEMENTS = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMBS = {
    "billion laughs": f'<!DOCTYPE x [<!ENTITY e0 "ha">{ELEMENTS}]>' + HEAD + "&e9;" + TAIL,
    "quadratic": f'<!DOCTYPE x [<!ENTITY e "{"a" * 50_000}">]>' + HEAD + "&e;" * 50_000 + TAIL,
    "external file": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + HEAD + "&e;" + TAIL,
    "external url": '<!DOCTYPE x [<!ENTITY e SYSTEM "http://127.0.0.1:1/">]>' + HEAD + "&e;" + TAIL,
    "external subset": '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">' + HEAD + TAIL,
    "parameter entity": '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]>' + HEAD,
    "only a document type": "<!DOCTYPE methodCall>" + HEAD + TAIL,
    "unparsed": '<!DOCTYPE x [<!NOTATION n SYSTEM "n"><!ENTITY e SYSTEM "u" NDATA n>]>' + HEAD,
}  # fmt: skip


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", BOMBS)
def test_a_document_type_is_refused_before_anything_in_it_counts(name: str) -> None:
    fault = refused(BOMBS[name].encode())
    assert fault.code is FaultCode.NOT_XML
    assert str(fault) == "a document type or entities: refused"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", FaultCode.NOT_XML),
        (b" ", FaultCode.NOT_XML),
        (b"hello", FaultCode.NOT_XML),
        (b"{}", FaultCode.NOT_XML),
        (b"\x00", FaultCode.NOT_XML),
        (b"\x1f\x8b\x08\x00", FaultCode.NOT_XML),
        (b"<methodCall>", FaultCode.NOT_XML),
        (b"<methodCall></method>", FaultCode.NOT_XML),
        (f"{HEAD}{TAIL}{HEAD}{TAIL}".encode(), FaultCode.NOT_XML),
        (b"<methodCall>&undefined;</methodCall>", FaultCode.NOT_XML),
        (b"<methodCall>\xff</methodCall>", FaultCode.NOT_XML),
        (call_with("<value>&#0;</value>"), FaultCode.NOT_XML),
        (call_with("<value>&#xD800;</value>"), FaultCode.NOT_XML),
        (b"<?xml version='1.0' encoding='no-such'?><a/>", FaultCode.NO_CALL),
        (b"<?xml version='1.0' encoding='zlib'?><a/>", FaultCode.NO_CALL),
        (b"<html/>", FaultCode.NO_CALL),
        (b"<methodCall/>", FaultCode.NO_CALL),
        (b"<methodCall><params/></methodCall>", FaultCode.NO_CALL),
        (xmlrpc.client.dumps((1,), methodresponse=True).encode(), FaultCode.NO_CALL),
        (xmlrpc.client.dumps(xmlrpc.client.Fault(1, "no")).encode(), FaultCode.NO_CALL),
        (f"{HEAD}<fault><value>a</value></fault>{TAIL}".encode(), FaultCode.NO_CALL),
        (f"{HEAD}<fault/>{TAIL}".encode(), FaultCode.NO_CALL),
        (call_with("<value><int>x</int></value>"), FaultCode.NO_CALL),
        (call_with("<value><int/></value>"), FaultCode.NO_CALL),
        (call_with(f"<value><int>{'9' * 5_000}</int></value>"), FaultCode.NO_CALL),
        (call_with("<value><boolean>2</boolean></value>"), FaultCode.NO_CALL),
        (call_with("<value><double>x</double></value>"), FaultCode.NO_CALL),
        (call_with("<value><bigdecimal>x</bigdecimal></value>"), FaultCode.NO_CALL),
        (call_with("<value><base64>a</base64></value>"), FaultCode.NO_CALL),
        (call_with("<value><base64>\u4e2d</base64></value>"), FaultCode.NO_CALL),
        (call_with("<value><unknown/></value>"), FaultCode.NO_CALL),
        (call_with("<value><struct><member><name>k</name></member></struct></value>"),
         FaultCode.NO_CALL),
        (call_with("<value><struct><array/><nil/></struct></value>"), FaultCode.NO_CALL),
    ],
)  # fmt: skip
def test_what_is_no_call_is_a_fault_in_words(body: bytes, code: FaultCode) -> None:
    fault = refused(body)
    assert fault.code is code
    assert str(fault)
    assert "Traceback" not in str(fault)


def nested(levels: int) -> bytes:
    """So many elements within each other, the envelope included."""
    inner = levels - 2
    return f"{HEAD}<params>{'<param>' * inner}{'</param>' * inner}</params>{TAIL}".encode()


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH])
def test_elements_may_be_nested_up_to_the_limit(levels: int) -> None:
    assert parse_call(nested(levels)).method == "m"


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100_000])
def test_deeper_ones_are_refused(levels: int) -> None:
    assert str(refused(nested(levels))) == f"more than {MAX_DEPTH} elements within each other"


def with_attribute(size: int) -> bytes:
    return call_with(f"<int a='{'x' * size}'>1</int>")


@pytest.mark.parametrize("size", [PIECE - 1000, 10 * PIECE])
def test_a_tag_may_be_as_long_as_a_piece_and_not_much_longer(size: int) -> None:
    if size < PIECE:
        assert parse_call(with_attribute(size)).params == (1,)
    else:
        assert str(refused(with_attribute(size))) == f"a tag or comment of more than {PIECE} bytes"


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_what_is_cut_between_pieces_is_read_whole(size: int) -> None:
    body = call_with(f"<string>{'&amp;é' * (size // 7)}</string>")
    assert parse_call(body).params == ("&é" * (size // 7),)
    assert len(parse_call(call_with("<string>" + "x" * size + "</string>")).params[0]) == size


@pytest.mark.parametrize(
    "body",
    [
        b" ".join(b"a%d='>'" % n for n in range(800_000)).join([b"<int ", b">1</int>"]),
        b"".join(b"<a%d/>" % n for n in range(900_000)),
        b"".join(b"<a%d:x/>" % n for n in range(900_000)),
        b"<!--" + b"x" * 9_000_000 + b"-->",
        b"<" + b"v" * 9_000_000 + b">",
    ],
    ids=["attributes", "names", "prefixes", "a comment", "a name"],
)
def test_no_call_holds_the_interpreter(body: bytes) -> None:
    whole = HEAD.encode() + b"<params><param><value>" + body + b"</value></param></params>"
    began = time.process_time()
    refused(whole + TAIL.encode())
    assert time.process_time() - began < 0.1


def test_sixty_levels_of_lists_are_within_the_limit() -> None:
    value: list[Any] = []
    for _ in range(60):
        value = [value]
    assert parse_call(xmlrpc.client.dumps((value,), "m").encode()).params == (value,)


def test_text_does_not_multiply_in_the_elements_around_it() -> None:
    depth = 100
    call = parse_call(call_with("<name>" * depth + "x" * 10_000 + "</name>" * depth))
    assert sum(len(value) for value in call.params) == 10_000


VALUES = [
    None, True, 0, -(2**31), 2**31 - 1, 1.5, math.inf, "", "a<&>]]>b", "不", b"", b"\x00\xff" * 99,
    [], ["a", [None]], {}, {"p": {"200": 1.0, "speed": 2.5}}, {"": {"k": None}},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_an_answer_is_read_as_it_was_meant(value: Any) -> None:
    params, method = xmlrpc.client.loads(encode_value(value), use_builtin_types=True)
    assert (params, method) == ((value,), None)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a\x00b\x1f", "a\ufffdb\ufffd"),
        ("\ud800", "\ufffd"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("\t\n\x20\ud7ff\ue000\ufffd\U00010000\U0010ffff",) * 2,
    ],
    ids=ascii,
)
def test_what_xml_cannot_carry_is_replaced(text: str, sent: str) -> None:
    assert xmlrpc.client.loads(encode_value({text: text}))[0] == ({sent: sent},)
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(encode_fault(Fault(FaultCode.BAD_PARAMS, text)))
    assert caught.value.faultString == sent


def test_a_fault_is_read_as_one() -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(encode_fault(Fault(FaultCode.NO_METHOD, "there is no <b>")))
    assert (caught.value.faultCode, caught.value.faultString) == (-32601, "there is no <b>")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "boolean"), (1, "int"), (1.0, "double"), ("", "string"), (b"", "base64"),
        ([], "array"), ({}, "struct"), (None, "nil"), (Decimal(1), "Decimal"),
    ],
)  # fmt: skip
def test_a_type_is_called_by_its_xml_rpc_name(value: Any, name: str) -> None:
    assert type_name(value) == name


def test_reading_leaves_the_standard_library_as_it_was() -> None:
    text = "<!DOCTYPE x [<!ENTITY e 'a'>]><methodResponse><params><param><value>&e;</value>"
    text += "</param></params></methodResponse>"
    assert xmlrpc.client.loads(text) == (("a",), None)
    when = xmlrpc.client.dumps((datetime.datetime(2026, 1, 2),), methodresponse=True)  # noqa: DTZ001
    assert xmlrpc.client.loads(when)[0] == (xmlrpc.client.DateTime("20260102T00:00:00"),)


TAGS = [
    "value", "int", "string", "nil", "array", "data", "struct", "member", "name", "base64", "fault",
    "params", "param", "methodName", "boolean", "dateTime.iso8601", "other", "x:int",
]  # fmt: skip
trees = st.recursive(
    st.sampled_from(["", "1", "text", " ", "YQ=="]),
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>",
        st.sampled_from(TAGS),
        st.lists(inner, max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(trees.map(lambda tree: f"{HEAD}{tree}{TAIL}".encode()), st.binary(max_size=200)))
def test_whatever_comes_is_a_call_or_a_fault(body: bytes) -> None:
    try:
        call = parse_call(body)
    except Fault as fault:
        assert b"<fault>" in encode_fault(fault)
    else:
        assert isinstance(call.method, str)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.binary(max_size=20)
    | st.floats(allow_nan=False) | st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(plain)
def test_what_a_client_sends_is_what_is_read(value: Any) -> None:
    body = xmlrpc.client.dumps((value,), "m", allow_none=True).encode()
    assert parse_call(body) == Call("m", (value,))


def test_a_long_base64_text_is_read_whole() -> None:
    raw = bytes(range(256)) * 2_000
    text = base64.encodebytes(raw).decode()
    assert parse_call(call_with(f"<value><base64>{text}</base64></value>")).params == (raw,)
