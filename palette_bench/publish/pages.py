"""Pages that open by double-click: one file with its style and script inside, that asks nothing of any network.

Their markup is in ``templates``. Everything that a template prints is escaped, for a model may have any name.
"""

import base64
import functools
import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import quote

from palette_bench.common.errors import LAYOUT, printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = "palette_bench.publish"


@functools.cache
def _environment() -> "Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quote": quote, "casefold": str.casefold}
    return environment


def _own(text: str) -> "Markup":
    """Markup that is written here, and never somebody else's text."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def _visible(value: object) -> object:
    """What a template prints: invisible characters become visible escapes."""
    return printable(value, keep=LAYOUT) if type(value) is str else value


def render(template: str, title: str, *, style: str = "", script: str = "", **values: object) -> str:
    """A whole page: ``title`` is text, ``style`` comes after the common style sheet.

    The policy of the page lets no other script run than ``script``, and loads images from its own folder alone. Equal
    arguments give equal bytes.
    """
    # A style or script ends at its end tag whatever stands around it.
    for name, text in (("style", style), ("script", script)):
        if f"</{name}" in text.lower():
            raise ValueError(f"a {name} cannot contain its own end tag")
    # Browsers hash what stands between the tags, line breaks included.
    inside = f"\n{script.strip()}\n" if script else ""
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'" if script else "'none'"
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_own(policy),
            title=title,
            style=_own(common_style() + style),
            script=_own(inside),
            **values,
        )
    )


def fragment(template: str, **values: object) -> str:
    """Markup without a page around it."""
    return _environment().get_template(template).render(**values)


@functools.cache
def common_style() -> str:
    """The style sheet of every page: type, colours of light and dark, tables, buttons, what has the focus."""
    return asset("palette_bench.publish", "page.css")


def asset(package: str, name: str) -> str:
    """The text of a file in the ``assets`` folder of a package."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")


def data_block(element_id: str, value: object) -> "Markup":
    """``value`` as JSON for a script to read: ``JSON.parse(document.getElementById(ID).textContent)``.

    Raises ValueError for NaN and infinities.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    # Nothing in JSON needs these letters as such, and a browser would look for tags and comments in them.
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return _own('<script type="application/json" id="{}">{}</script>').format(element_id, _own(text))
