"""pyspider's own tests of its renderers, through the queues, with the Chromium of the system."""

import html
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fetcher.settings import Fetcher as Settings
from fetcher.settings import Renderer
from fetchpool.farm import Call
from fetchpool.serve.build_renderer import rendering
from tests.e2e.component import Component
from tests.e2e.pyspider import text_of
from tests.e2e.test_pyspider_fetcher import sample
from tests.rendering import program

pytestmark = pytest.mark.timeout(60)

ASKS = """<html><body><p id="x">loading</p><script>
var asked = new XMLHttpRequest();
asked.onload = function () {
  var agent = JSON.parse(asked.responseText).headers.find(pair => pair[0] == "User-Agent");
  document.getElementById("x").textContent = "done " + agent[1];
};
asked.open("GET", "/get");
asked.send();
</script></body></html>"""


async def asks(call: Call) -> None:
    await call.send(ASKS, kind="text/html; charset=utf-8")


@pytest_asyncio.fixture
async def renders(component: Component) -> AsyncIterator[Component]:
    program()
    component.origin.pages.insert(0, (re.compile("/asks"), asks))
    async with rendering(Settings(renderer=Renderer(sandbox=False)), component.fetcher):
        yield component


def headers_seen(result: dict[str, Any]) -> dict[str, str]:
    """Those that arrived, out of the JSON that a browser shows in a page of its own."""
    found = re.search(r"<pre[^>]*>(.*?)</pre>", text_of(result), re.DOTALL)
    assert found is not None, result
    return {name.title(): value for name, value in json.loads(html.unescape(found[1]))["headers"]}


@pytest.mark.parametrize("fetch_type", ["js", "phantomjs", "splash"])
async def test_70_a_page_is_asked_for_as_the_task_says(renders: Component, fetch_type: str) -> None:
    sent = sample(renders.url + "/get", fetch_type=fetch_type)
    task, result = await renders.run(sent)
    assert task == sent
    assert (result["status_code"], result["orig_url"]) == (200, sent["url"])
    assert (result["save"], result["rendered"]) == ("abc", True)
    headers = headers_seen(result)
    assert headers["A"] == "b"
    assert sorted(headers["Cookie"].split("; ")) == ["a=b", "c=d"]


async def test_75_robots_txt_is_asked_before(renders: Component) -> None:
    _, result = await renders.run(sample(renders.url + "/deny", fetch_type="js", robots_txt=True))
    assert (result["status_code"], result["rendered"]) == (403, False)


async def test_80_a_page_that_is_late_is_a_599_in_time(renders: Component) -> None:
    _, result = await renders.run(sample(renders.url + "/delay/5", fetch_type="js", timeout=3))
    assert result["status_code"] == 599
    assert 2 < result["time"] < 5
    assert result["js_script_result"] is None


async def test_90_a_script_writes_into_the_page(renders: Component) -> None:
    script = "function() { document.write('binux') }"
    _, result = await renders.run(sample(renders.url + "/html", fetch_type="js", js_script=script))
    assert (result["status_code"], "binux" in text_of(result)) == (200, True)


async def test_95_what_a_script_returns_comes_back(renders: Component) -> None:
    script = "function() { document.body.click(); return 'abc' }"
    _, result = await renders.run(sample(renders.url + "/html", fetch_type="js", js_script=script))
    assert (result["status_code"], result["js_script_result"]) == (200, "abc")


async def test_a100_what_a_page_asks_for_itself_is_waited_for(renders: Component) -> None:
    sent = sample(renders.url + "/asks", fetch_type="js", headers={"User-Agent": "pyspider-test"})
    _, result = await renders.run(sent)
    text = text_of(result)
    assert (result["status_code"], "done pyspider-test" in text) == (200, True)
    assert "loading</p>" not in text


async def test_a110_a_name_that_does_not_exist_is_said_so(renders: Component) -> None:
    _, result = await renders.run(sample("http://nowhere.invalid/", fetch_type="js"))
    assert result["status_code"] == 599
    assert "resolve" in result["error"]
