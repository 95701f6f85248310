"""Files of the page, read once."""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path, PurePosixPath

_FOLDER = Path(__file__).parent / "static"
_DOCUMENT = "index.html"
_MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""Litestar adds the charset of text."""
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, as it is and compressed."""

    data: bytes
    packed: bytes
    media_type: str


class PageFiles:
    """All files of the page, in memory: about 200 kB, and 75 kB compressed. They are read when the first of them is asked for."""

    @cached_property
    def files(self) -> Mapping[str, PageFile]:
        """Files by their path below the folder, without the document."""
        found = sorted(path for path in _FOLDER.rglob("*") if path.suffix in _MEDIA_TYPES)
        return {path.relative_to(_FOLDER).as_posix(): _read(path) for path in found}

    @cached_property
    def version(self) -> str:
        """Digest of all files, which is a part of their addresses: another version has other addresses."""
        digest = hashlib.sha256(self._template.encode())
        for name, file in self.files.items():
            digest.update(name.encode() + b"\0" + file.data)
        return digest.hexdigest()[:16]

    def document(self, base: str, *, keys: bool) -> str:
        """Return the HTML document.

        Args:
            base: path of the plugin with a slash at its end, below which the page finds its files and the API.
            keys: whether the API needs a key.
        """
        values = {"base": base, "version": self.version, "keys": "yes" if keys else "no", "preloads": self._preloads}
        text = self._template
        for name, value in values.items():
            text = text.replace(f"{{{{{name}}}}}", value if name == "preloads" else escape(value))
        return text

    def policy(self, document: str) -> str:
        """Return the Content-Security-Policy of the document: nothing but its own files, and the import map by its digest."""
        script = _IMPORT_MAP.search(document)
        digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode() if script else ""
        return (
            f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' blob: data:; "
            "connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
        )

    @cached_property
    def _template(self) -> str:
        return (_FOLDER / _DOCUMENT).read_text(encoding="utf-8")

    @cached_property
    def _preloads(self) -> str:
        """Links by which a browser fetches all modules at once, and not one import after the other."""
        modules = [name for name in self.files if PurePosixPath(name).suffix == ".js"]
        return "\n".join(f'<link rel="modulepreload" href="page/{self.version}/{name}">' for name in modules)


def _read(path: Path) -> PageFile:
    data = path.read_bytes()
    return PageFile(data, gzip.compress(data, mtime=0), _MEDIA_TYPES[path.suffix])
