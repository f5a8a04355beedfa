import pytest
from selectolax.lexbor import LexborHTMLParser

from fetcher.html.text import MAX_TEXT, readable_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("<p>one<b>two</b> three<div>four", "onetwo three\nfour"),
        ("<p>a</p>b<p>c", "a\nb\nc"),
        ("<div><div>a</div></div>b", "a\nb"),
        ("a<br>b<hr>c", "a\nb\nc"),
        ("  a \n\t b &amp; &lt;c&gt;&nbsp;d ", "a b & <c> d"),
        ("<table><tr><td>a<td>b<tr><th>c</table>d", "a\tb\nc\nd"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("a<script>b</script><style>c</style><noscript>d</noscript><template>e</template>f", "af"),
        ("a<textarea>b</textarea><svg><title>c</title><text>d</text></svg><!-- e -->f", "af"),
        ("<title>a</title>b", "b"),
        ("<frameset><frame></frameset>", ""),
        ("<p>" + "x" * (MAX_TEXT - 1) + "<p>y", "x" * (MAX_TEXT - 1) + "\n"),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("x" * (2 * MAX_TEXT + 1) + "<p>y", "x" * MAX_TEXT),
    ],
)
def test_the_text_is_what_a_reader_sees_block_by_block(html: str, text: str) -> None:
    assert readable_text(LexborHTMLParser(html)) == text
