"""Pages: equal bytes for equal content, and nothing that could end a style or script early."""

import json

import pytest
from markupsafe import Markup

from palette_bench.publish.pages import common_style, data_block, render


def page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    return render("page.html.jinja", title, style=style, script=script, body=body)


def test_a_page_is_a_function_of_its_content() -> None:
    made = page("<T>", Markup("<p>body</p>"), style="p { color: red; }", script="let a = 1 < 2;")
    assert made == page("<T>", Markup("<p>body</p>"), style="p { color: red; }", script="let a = 1 < 2;")
    assert "<title>&lt;T&gt;</title>" in made
    assert common_style() + "p { color: red; }</style>" in made
    assert "<script>\nlet a = 1 < 2;\n</script>" in made


def test_a_page_without_a_script_allows_none() -> None:
    assert "script-src 'none'" in page("t", "")
    assert "<script" not in page("t", "")


@pytest.mark.parametrize("parts", [{"script": "'</SCRIPT>'"}, {"style": "</style>"}])
def test_an_end_tag_inside_is_refused(parts: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="end tag"):
        page("t", "", **parts)


def test_text_is_escaped() -> None:
    assert "<body>\n&lt;b a=&#34;1&#34;&gt;&amp;&#39;\\u202e\n" in page("t", '<b a="1">&\'\u202e\n')


def test_data_is_read_back_and_holds_no_tag() -> None:
    value = {"name": "</script><!--", "n": 1.5}
    block = data_block("d", value)
    inside = block.removeprefix('<script type="application/json" id="d">').removesuffix("</script>")
    assert "<" not in inside
    assert json.loads(inside) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        data_block("d", float("nan"))
