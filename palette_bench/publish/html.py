"""HTML that opens by double-click: one file with its style and script inside, that asks nothing of any network.

Everything that is not written here or in an asset goes through ``escape``: a model may have any name.
"""

import base64
import functools
import hashlib
import html
import json
from importlib import resources

from palette_bench.common.errors import LAYOUT, printable

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
{script}</body>
</html>
"""


def escape(text: object) -> str:
    """``text`` as text of an element or of a quoted attribute; characters that nobody sees as visible escapes."""
    return html.escape(printable(str(text), keep=LAYOUT), quote=True)


def page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """A whole page: ``title`` is text, ``body`` markup, ``style`` comes after the common style sheet.

    The policy of the page lets no other script run than ``script``, and loads images from its own folder alone. Equal
    arguments give equal bytes.
    """
    # A style or script ends at its end tag whatever stands around it.
    for name, text in (("style", style), ("script", script)):
        if f"</{name}" in text.lower():
            raise ValueError(f"a {name} cannot contain its own end tag")
    # Browsers hash what stands between the tags, line breaks included.
    inside = f"\n{script.strip()}\n"
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'" if script else "'none'"
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return _PAGE.format(
        policy=policy,
        title=escape(title),
        style=common_style() + style,
        body=body,
        script=f"<script>{inside}</script>\n" if script else "",
    )


@functools.cache
def common_style() -> str:
    """The style sheet of every page: type, colours of light and dark, tables, buttons, what has the focus."""
    return asset("palette_bench.publish", "page.css")


def asset(package: str, name: str) -> str:
    """The text of a file in the ``assets`` folder of a package."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")


def data_block(element_id: str, value: object) -> str:
    """``value`` as JSON for a script to read: ``JSON.parse(document.getElementById(ID).textContent)``.

    Raises ValueError for NaN and infinities.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    # Nothing in JSON needs these letters as such, and a browser would look for tags and comments in them.
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'<script type="application/json" id="{escape(element_id)}">{text}</script>'
