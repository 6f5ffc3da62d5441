"""TMX 1.1 to 1.4, the exchange format of translation memories (gala-global.org/tmx-14b); one row per unit.

The file is read with expat, one unit at a time, so memory does not grow with the file, and nothing is downloaded.
A DOCTYPE that declares entities is refused, since a few entities can expand without limit. (ElementTree's
iterparse was tried: it has no hook for this refusal, and by default it keeps everything that it has read.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._files import DataFile
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

_CHUNK_BYTES = 2**16
# The content of these is markup of the program that the text came from; `hi` holds text.
_CODES = ("bpt", "ept", "it", "ph", "ut")


@dataclass
class _Unit:
    """A `tu`: its languages, the text of each (None without a `seg`), and undeclared entities."""

    languages: list[str] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    undefined: list[str] = field(default_factory=list)


def _rows(file: DataFile) -> Iterator[Row]:
    from xml.parsers.expat import ExpatError

    try:
        with file.open_bytes() as handle:
            for number, unit in enumerate(_Reader(file.name).units(handle), start=1):
                yield _row(number, unit)
    except ExpatError as error:
        raise DataError(
            f"`{file.name}` is not XML: {error}.", remedy="Export it again as TMX from its program."
        ) from None


def _row(number: int, unit: _Unit) -> Row:
    names = _names(unit.languages)
    if problem := _fault(unit, names):
        return Row(number, problem=problem, unit="unit")
    return Row(number, dict(zip(names, unit.texts, strict=True)), unit="unit")


def _names(languages: list[str]) -> list[str]:
    """`en` for `en-US`; the whole tags if a unit has two variants of one language."""
    primary = [language.replace("_", "-").partition("-")[0] for language in languages]
    return primary if len({name.lower() for name in primary}) == len(primary) else languages


def _fault(unit: _Unit, names: list[str]) -> str:
    if unit.undefined:
        return f"the entity `&{unit.undefined[0]};` is not defined."
    if not names:
        return "the unit has no `tuv`."
    if not all(names):
        return "a `tuv` has no `xml:lang`."
    if None in unit.texts:
        return f"the `tuv` in `{unit.languages[unit.texts.index(None)]}` has no `seg`."
    if len(set(names)) < len(names):
        return f"two variants of the unit are in `{max(names, key=names.count)}`."
    return ""


class _Reader:
    """Builds units from the events of expat."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._unit: _Unit | None = None
        self._done: list[_Unit] = []
        self._in_segment, self._codes = False, 0

    def units(self, handle: IO[bytes]) -> Iterator[_Unit]:
        """Every unit, as soon as it ends."""
        parser = self._parser()
        while chunk := handle.read(_CHUNK_BYTES):
            parser.Parse(chunk)
            done, self._done = self._done, []
            yield from done
        parser.Parse(b"", True)

    def _parser(self) -> XMLParserType:
        from xml.parsers.expat import ParserCreate

        parser = ParserCreate()
        parser.buffer_text = True
        parser.EntityDeclHandler = self._refuse_entity
        parser.SkippedEntityHandler = self._skip_entity
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        return parser

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "tu":
            self._unit = _Unit()
        elif tag == "tuv" and self._unit:
            self._unit.languages.append(attributes.get("xml:lang") or attributes.get("lang", ""))
            self._unit.texts.append(None)
        elif tag == "seg" and self._unit and self._unit.texts:
            self._unit.texts[-1], self._in_segment = "", True
        self._codes += tag in _CODES

    def _end(self, tag: str) -> None:
        if tag == "tu" and self._unit:
            self._done.append(self._unit)
            self._unit = None
        elif tag == "seg":
            self._in_segment = False
        self._codes -= tag in _CODES

    def _text(self, text: str) -> None:
        if self._unit and self._in_segment and not self._codes:
            self._unit.texts[-1] = (self._unit.texts[-1] or "") + text

    def _skip_entity(self, name: str, is_parameter: bool) -> None:
        if self._unit and self._in_segment and not self._codes:
            self._unit.undefined.append(name)

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise DataError(
            f"a TMX file must not declare entities, and `{self._name}` declares `{name}`.",
            remedy="Remove the ENTITY lines from its DOCTYPE, and write their texts where they are used.",
        )


def _recognises(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") and b"<tmx" in head


format = FileFormat("translation units", (".tmx",), _rows, _recognises)
