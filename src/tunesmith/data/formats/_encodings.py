"""Encodings of text: the one that a file announces, and the one that fits bytes that are not UTF-8.

A byte order mark is unambiguous, so it is followed. Without one, a text must be UTF-8. The encoding of other bytes
is not guessed; the message names the encoding that fits, and how to convert the file.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, whose mark its own begins with
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_PLAIN = "utf-8-sig"
_BROKEN = re.compile("[\ud800-\udfff]")
_MOST_CONTROLS, _FEW_CONTROLS = 0.02, 2
_CONTROLS = bytes([*range(0, 9), *range(14, 27), *range(28, 32)])
_SHOWN_CHARACTERS = 40
_FITS_NOTE = "; as {} it reads "

# Encodings of old files: name, codec, and scripts of their texts. Chinese encodings come last, since they fit
# almost any bytes.
_CANDIDATES = (
    ("Windows-1252", "cp1252", ("LATIN",)),
    ("Mac Roman", "mac_roman", ("LATIN",)),
    ("Windows-1250", "cp1250", ("LATIN",)),
    ("Windows-1251", "cp1251", ("CYRILLIC",)),
    ("Windows-1253", "cp1253", ("GREEK",)),
    (
        "Shift-JIS",
        "shift_jis",
        ("HIRAGANA", "KATAKANA", "CJK", "IDEOGRAPHIC", "FULLWIDTH", "KATAKANA-HIRAGANA"),
    ),
    ("EUC-KR", "euc_kr", ("HANGUL",)),
    ("GB18030", "gb2312", ("CJK", "FULLWIDTH", "IDEOGRAPHIC")),
    ("Big5", "big5", ("CJK", "FULLWIDTH", "IDEOGRAPHIC")),
)
_SIGNS = frozenset("“”‘’„‚–—…€§°«»‹›¿¡£¥©®™·•½¼¾²³µ×±†‡\xa0")
_SIGN_WITHIN = re.compile(r"[^\W\d_][¿¡£¥©®™½¼¾²³µ×±†‡§°«»‹›“„][^\W\d_]")


def encoding_of(head: bytes) -> tuple[str, str]:
    """The codec that a file's first bytes announce, and its name: (`utf-16`, `UTF-16`)."""
    return next(((codec, name) for mark, codec, name in _MARKS if head.startswith(mark)), (_PLAIN, "UTF-8"))


def unmarked_utf16(head: bytes) -> str:
    """`UTF-16LE` or `UTF-16BE` if nearly every other byte is zero; else empty."""
    half = len(head) // 2
    zeros = {"UTF-16BE": head[: half * 2 : 2].count(0), "UTF-16LE": head[1 : half * 2 : 2].count(0)}
    found = max(zeros, key=lambda name: zeros[name])
    other = min(zeros.values())
    return found if half >= 4 and zeros[found] > 0.4 * half and other < 0.05 * half else ""


def is_binary(head: bytes) -> bool:
    """Whether bytes without a byte order mark are not text: more than a few are control characters."""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return controls > max(_FEW_CONTROLS, _MOST_CONTROLS * len(head))


def is_text(head: bytes) -> bool:
    """Whether a file's first bytes are text: they have a byte order mark, or are not binary."""
    return encoding_of(head)[1] != "UTF-8" or not is_binary(head)


def text_problem(text: str) -> str:
    """Why a text from `DataFile.open_text` cannot be used, as the end of a sentence; empty if it can."""
    if text.isascii() or not _BROKEN.search(text):
        return "it holds a NUL byte, which no text has." if "\0" in text else ""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "not UTF-8: it holds half of a character."
    name, reading = fitting_encoding(data)
    return f"not UTF-8{_FITS_NOTE.format(name)}`{reading}`." if name else "not UTF-8."


def conversion_of(problem: str, file: str) -> str:
    """How to convert a file whose `text_problem` names an encoding; empty for any other problem."""
    name = next((name for name, _, _ in _CANDIDATES if _FITS_NOTE.format(name) in problem), "")
    codec = name.upper().replace("MAC ROMAN", "MACINTOSH").replace("SHIFT-JIS", "SHIFT_JIS")
    return f"Convert it to UTF-8: `iconv -f {codec} -t UTF-8 {file} > NEW_FILE`." if name else ""


def fitting_encoding(data: bytes) -> tuple[str, str]:
    """The encoding that fits bytes, and their first word beyond ASCII in it; empty if none fits."""
    if _is_mixed(data):
        return "", ""
    for name, codec, scripts in _CANDIDATES:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        words = [word for word in text.split() if not word.isascii()]
        if (
            words
            and _has_ascii_letters(text, scripts)
            and all(_is_plausible(word, scripts) for word in words)
        ):
            return name, words[0][:_SHOWN_CHARACTERS]
    return "", ""


def _is_mixed(data: bytes) -> bool:
    """Whether most of the bytes beyond ASCII are UTF-8: such a text is damaged, not in another encoding."""
    n_high = len(data) - len(data.translate(None, bytes(range(128, 256))))
    readable = data.decode("utf-8", "ignore").encode()
    return 2 * (len(readable) - len(readable.translate(None, bytes(range(128, 256))))) > n_high


def _has_ascii_letters(text: str, scripts: tuple[str, ...]) -> bool:
    """Whether a Latin text has mostly letters without accents; true for other scripts."""
    letters = [c for c in text if c.isalpha()]
    return scripts != ("LATIN",) or 2 * sum(map(str.isascii, letters)) >= len(letters)


def _is_plausible(word: str, scripts: tuple[str, ...]) -> bool:
    """Whether a word is plausible: in one script, with capitals only where capitals are usual."""
    foreign = [c for c in word if not c.isascii() and c not in _SIGNS]
    if not all(unicodedata.name(c, "").split(" ")[0] in scripts for c in foreign):
        return False
    if _SIGN_WITHIN.search(word):
        return False
    letters = "".join(c for c in word if c.isalpha())
    if scripts == ("LATIN",):
        if "ÿ" in foreign:  # a stray 0xFF, and hardly ever a letter
            return False
    elif len(foreign) < 2 or any(c.isascii() for c in letters):
        return False
    return letters == letters.lower() or letters.isupper() or letters[1:] == letters[1:].lower()
