"""Links for raters: a link per seat, on a page to print with a QR code each."""

import base64
from dataclasses import dataclass
from pathlib import Path

import segno
from jinja2 import Environment

from palette_bench.common.files import write_bytes
from palette_bench.study.definition import Study
from palette_bench.study.keys import Keys
from palette_bench.study.server import asset


@dataclass(frozen=True, slots=True)
class SeatLink:
    """A seat's link; ``number`` is that of the paper, from 1."""

    number: int
    address: str


def seat_links(keys: Keys, base: str, count: int) -> list[SeatLink]:
    """``count`` links below the address of the server."""
    return [SeatLink(n, f"{base.rstrip('/')}/seat/{keys.ticket(n)}") for n in range(1, count + 1)]


def write_sheet(path: Path, study: Study, links: list[SeatLink], pages: Environment) -> None:
    """A page to print and cut: each seat with its link and QR code; it needs no network."""
    cards = []
    for link in links:
        code = segno.make(link.address, error="m")
        cards.append((link, code.svg_data_uri(scale=4, border=2)))
    style = base64.b64encode(asset("seats.css")).decode()
    html = pages.get_template("seats.html").render(study=study, cards=cards, style=style)
    write_bytes(path, html.encode())
