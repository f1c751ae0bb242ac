"""Reads a page as a person would: headings, tables, pictures and links."""

from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np

VOID = {"meta", "img"}
NETWORK = {"script", "link", "iframe", "object", "embed"}


class Page(HTMLParser):
    """What a page holds; fails where tags do not close or something is fetched from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.headings: list[str] = []
        self.words: list[str] = []
        self.tables: list[dict[str, list[str]]] = []
        """Cells by the name of their row; the head's name is an empty string."""
        self.pictures: list[np.ndarray] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self._row: list[str] = []
        self.feed(self.text)
        self.close()
        assert not self._open, f"{self._open} were not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag not in NETWORK
        assert not [name for name in found if name.startswith("on")]
        if tag == "table":
            self.tables.append({})
        elif tag == "tr":
            self._row = []
        elif tag == "th":
            assert found["scope"] in ("row", "col")
            self._row.append("")
        elif tag == "td":
            self._row.append("")
        elif tag == "a":
            self.links.append(str(found["href"]))
        elif tag == "img":
            assert found["alt"]
            kind, encoded = str(found["src"]).split("base64,")
            assert kind in ("data:image/png;", "data:image/jpeg;")
            picture = cv2.imdecode(np.frombuffer(b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
            self.pictures.append(picture)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "tr":
            is_head = not self.tables[-1] and len(self._row) > 2
            self.tables[-1]["" if is_head else self._row[0]] = self._row[not is_head :]

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)
        if {"td", "th"} & set(self._open):
            self._row[-1] += data
        elif data.strip():
            self.words.append(data.strip())

    def table(self, *head: str) -> dict[str, list[str]]:
        """The table whose head begins like this."""
        return next(one for one in self.tables if one.get("", [])[: len(head)] == list(head))
