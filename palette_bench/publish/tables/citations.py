"""Whom to cite: BibTeX entries of what the numbers rest on."""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from palette_bench.common import resources
from palette_bench.common.errors import InputError
from palette_bench.common.version import __version__
from palette_bench.publish.tables.markup import latex
from palette_bench.publish.tables.printed import Paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One entry: ``key`` is BibTeX's, ``fields`` are plain text in the entry's order."""

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def text(self) -> str:
        """One line for formats that know no BibTeX."""
        fields = self.fields
        names = [_family_name(name) for name in fields["author"].split(" and ")]
        authors = f"{names[0]} et al." if len(names) > 3 else ", ".join(names)
        place = next((fields[name] for name in ("booktitle", "journal", "howpublished") if name in fields), "")
        return ", ".join(part for part in (authors, fields["title"], place, fields.get("year", "")) if part)

    @property
    def bibtex(self) -> str:
        """The entry; the title in braces, so that no style changes its capitals."""
        lines = [f"@{self.kind}{{{self.key},"]
        for name, value in self.fields.items():
            shown = value if name in ("url", "author") else latex(value)
            lines.append(f"  {name} = {{{{{shown}}}}}," if name == "title" else f"  {name} = {{{shown}}},")
        return "\n".join([*lines, "}"])


def _family_name(name: str) -> str:
    if name.startswith("{"):
        return name.strip("{}")
    return name.partition(",")[0] if "," in name else name.rpartition(" ")[2]


SOFTWARE = Citation(
    key="palette-bench",
    kind="misc",
    fields=MappingProxyType(
        {
            "author": "{The palette-bench maintainers}",
            "title": "palette-bench: the evaluation protocol of Palette as software",
            "howpublished": f"Version {__version__}",
        }
    ),
)

_HEAD = re.compile(r"@(\w+)\{([^,]+),")
_FIELD = re.compile(r"  (\w+) = \{(.*)\},")


@functools.cache
def entries() -> Mapping[str, Citation]:
    """The entries of ``leaderboards/paper/methods.bib`` by key: a field per line, its text without any command."""
    loaded: dict[str, Citation] = {}
    text = (resources.leaderboards() / "paper" / "methods.bib").read_text(encoding="utf-8")
    for block in text.strip().split("\n\n"):
        head, *lines = block.splitlines()
        kind, key = _matched(_HEAD, head)
        fields = dict(_matched(_FIELD, line) for line in lines[:-1])
        fields["title"] = fields["title"].strip("{}")
        loaded[key] = Citation(key=key, kind=kind, fields=MappingProxyType(fields))
    return MappingProxyType(loaded)


def _matched(pattern: re.Pattern[str], line: str) -> tuple[str, str]:
    match = pattern.fullmatch(line)
    if match is None:
        raise InputError("a bibliography cannot be read", where="leaderboards/paper/methods.bib", found=line)
    return match[1], match[2]


OF_BACKBONE: Mapping[str, str] = MappingProxyType(
    {
        "inception2015": "szegedy2016rethinking",
        "inception2015-halfpixel": "szegedy2016rethinking",
        "inception2015-clean": "szegedy2016rethinking",
        "googlenet": "szegedy2015going",
        "resnet50-v1": "he2016deep",
        "resnet50-v1-squeeze224": "he2016deep",
        "resnet50-v1-native256": "he2016deep",
    }
)
OF_SET: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "imagenet-ctest10k": ("russakovsky2015imagenet", "larsson2016learning"),
        "imagenet-coltran5k": ("russakovsky2015imagenet", "kumar2021colorization"),
        "places10k": ("zhou2017places",),
    }
)


def of_paper(paper: Paper) -> Citation:
    """The entry of a paper whose numbers are shipped; its key is the paper's."""
    fields = {
        "author": " and ".join(paper.authors),
        "title": paper.title,
        "howpublished" if "arXiv" in paper.venue else "booktitle": paper.venue,
        "year": str(paper.year),
        "url": paper.url,
    }
    kind = "misc" if "arXiv" in paper.venue else "inproceedings"
    return Citation(key=paper.key, kind=kind, fields=MappingProxyType(fields))


def bibliography(citations: Iterable[Citation]) -> str:
    """A ``.bib`` file, each entry once."""
    return "\n\n".join({citation.key: citation.bibtex for citation in citations}.values()) + "\n"
