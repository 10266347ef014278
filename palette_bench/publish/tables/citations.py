"""Whom to cite: BibTeX entries of what the numbers rest on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


def _entry(key: str, kind: str, author: str, title: str, place: str, year: int) -> Citation:
    where = "journal" if kind == "article" else "booktitle"
    fields = {"author": author, "title": title, where: place, "year": str(year)}
    return Citation(key=key, kind=kind, fields=MappingProxyType(fields))


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

_ENTRIES = (
    _entry(
        "heusel2017ttur",
        "inproceedings",
        "Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp",
        "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
        "Advances in Neural Information Processing Systems",
        2017,
    ),
    _entry(
        "salimans2016improved",
        "inproceedings",
        "Salimans, Tim and Goodfellow, Ian and Zaremba, Wojciech and Cheung, Vicki and Radford, Alec and Chen, Xi",
        "Improved Techniques for Training GANs",
        "Advances in Neural Information Processing Systems",
        2016,
    ),
    _entry(
        "szegedy2016rethinking",
        "inproceedings",
        "Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jon and Wojna, Zbigniew",
        "Rethinking the Inception Architecture for Computer Vision",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2016,
    ),
    _entry(
        "szegedy2015going",
        "inproceedings",
        "Szegedy, Christian and Liu, Wei and Jia, Yangqing and Sermanet, Pierre and Reed, Scott and Anguelov, Dragomir "
        "and Erhan, Dumitru and Vanhoucke, Vincent and Rabinovich, Andrew",
        "Going Deeper with Convolutions",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2015,
    ),
    _entry(
        "he2016deep",
        "inproceedings",
        "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        "Deep Residual Learning for Image Recognition",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2016,
    ),
    _entry(
        "russakovsky2015imagenet",
        "article",
        "Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and Satheesh, Sanjeev and Ma, Sean and "
        "Huang, Zhiheng and Karpathy, Andrej and Khosla, Aditya and Bernstein, Michael and Berg, Alexander C. and "
        "Fei-Fei, Li",
        "ImageNet Large Scale Visual Recognition Challenge",
        "International Journal of Computer Vision",
        2015,
    ),
    _entry(
        "larsson2016learning",
        "inproceedings",
        "Larsson, Gustav and Maire, Michael and Shakhnarovich, Gregory",
        "Learning Representations for Automatic Colorization",
        "European Conference on Computer Vision",
        2016,
    ),
    _entry(
        "kumar2021colorization",
        "inproceedings",
        "Kumar, Manoj and Weissenborn, Dirk and Kalchbrenner, Nal",
        "Colorization Transformer",
        "International Conference on Learning Representations",
        2021,
    ),
    _entry(
        "zhou2017places",
        "article",
        "Zhou, Bolei and Lapedriza, Agata and Khosla, Aditya and Oliva, Aude and Torralba, Antonio",
        "Places: A 10 Million Image Database for Scene Recognition",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        2017,
    ),
    _entry(
        "yu2019freeform",
        "inproceedings",
        "Yu, Jiahui and Lin, Zhe and Yang, Jimei and Shen, Xiaohui and Lu, Xin and Huang, Thomas S.",
        "Free-Form Image Inpainting with Gated Convolution",
        "IEEE/CVF International Conference on Computer Vision",
        2019,
    ),
    _entry(
        "wang2003multiscale",
        "inproceedings",
        "Wang, Zhou and Simoncelli, Eero P. and Bovik, Alan C.",
        "Multiscale Structural Similarity for Image Quality Assessment",
        "Asilomar Conference on Signals, Systems and Computers",
        2003,
    ),
)
ENTRIES: Mapping[str, Citation] = MappingProxyType({entry.key: entry for entry in _ENTRIES})

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
