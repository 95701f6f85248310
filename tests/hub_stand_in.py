"""A stand-in for the Hugging Face Hub: its API over real HTTP on 127.0.0.1, serving one folder as one repository."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_HELD_AT_MOST_S = 120
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Denial = tuple[int, str, str]
"""Status, X-Error-Code and X-Error-Message, as the Hub says no."""


@dataclass(frozen=True)
class Received:
    """A request, as it came in."""

    method: str
    path: str
    token: str | None
    start: int
    """First byte that is asked for."""


@dataclass
class HubStandIn:
    """What is served and how. Change it between requests as a test needs it."""

    folder: Path
    repo: str = "someone/sdxl"
    revision: str = "main"
    token: str | None = None
    """The token without which the repository does not show itself."""
    gated: bool = False
    """The listing is public, the files are not."""
    forbidden: bool = False
    """Every request gets a 403 that says nothing."""
    cut_once: set[str] = field(default_factory=set)
    """Files whose first transfer breaks off in the middle."""
    refused: set[str] = field(default_factory=set)
    """Files that get a 403, which the client does not ask for again."""
    held: dict[str, threading.Event] = field(default_factory=dict)
    """Files whose content is not sent before their event is set."""
    digest: str = "sha1"
    """Of the contents, as ETag."""
    ignores_range: bool = False
    """It sends whole files only."""
    stalled: dict[str, threading.Event] = field(default_factory=dict)
    """Files of which one half is sent, and the other not before their event is set."""
    endpoint: str = ""
    received: list[Received] = field(default_factory=list)

    def files(self) -> dict[str, Path]:
        """Paths inside the repository, and where their content is."""
        found = (file for file in sorted(self.folder.rglob("*")) if file.is_file())
        return {file.relative_to(self.folder).as_posix(): file for file in found}

    def etag(self, content: bytes) -> str:
        """Digest under which the client keeps a content."""
        return hashlib.new(self.digest, content).hexdigest()

    def downloaded(self) -> list[str]:
        """Paths of the files that were asked for with GET, each once."""
        prefix = f"/{self.repo}/resolve/{COMMIT}/"
        paths = {request.path for request in self.received if request.method == "GET"}
        return sorted(path.removeprefix(prefix) for path in paths if path.startswith(prefix))

    def denial(self, repo: str, revision: str, token: str | None, *, content: bool) -> Denial | None:
        """How the Hub refuses such a request; None where it does not."""
        if self.forbidden:
            return 403, "", "Forbidden"
        if token is not None and token != self.token:
            return 401, "", "Invalid credentials in Authorization header"
        if repo != self.repo or (self.token is not None and token is None):
            return 401, "RepoNotFound", "Repository not found"
        if revision not in (self.revision, COMMIT):
            return 404, "RevisionNotFound", f"Invalid rev id: {revision}"
        if self.gated and content:
            return 403, "GatedRepo", f"Access to model {repo} is restricted"
        return None


@contextmanager
def running(hub: HubStandIn) -> Iterator[HubStandIn]:
    """Serve until the block ends; sets `endpoint`."""

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: HubStandIn

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class gave it
        """Say nothing."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ") or None
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.served.received.append(Received(self.command, path, token, start))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._listing("/".join(parts[2:4]), parts[4:], token)
        elif parts[2:3] == ["resolve"]:
            self._content("/".join(parts[:2]), parts[3], "/".join(parts[4:]), token, start)
        else:
            self._deny((404, "", "Not found"))

    def _listing(self, repo: str, rest: list[str], token: str | None) -> None:
        kind, revision = (rest[0], "/".join(rest[1:])) if rest else ("revision", self.served.revision)
        denial = self.served.denial(repo, revision, token, content=False)
        if denial is not None:
            self._deny(denial)
            return
        facts = [
            (name, file.stat().st_size, self.served.etag(file.read_bytes()))
            for name, file in self.served.files().items()
        ]
        if kind == "tree":
            self._json([{"type": "file", "path": name, "size": size, "oid": oid} for name, size, oid in facts])
            return
        siblings = [{"rfilename": name, "size": size, "blobId": oid} for name, size, oid in facts]
        self._json({"id": repo, "sha": COMMIT, "siblings": siblings})

    def _content(self, repo: str, revision: str, name: str, token: str | None, start: int) -> None:
        denial = self.served.denial(repo, revision, token, content=True)
        file = self.served.files().get(name)
        if denial is None and file is None:
            denial = 404, "EntryNotFound", "Entry not found"
        if name in self.served.refused:
            denial = 403, "", "Forbidden"
        if denial is not None or file is None:
            self._deny(denial or (404, "", ""))
            return
        whole = file.read_bytes()
        headers = {"ETag": f'"{self.served.etag(whole)}"', "Accept-Ranges": "bytes"}
        start = 0 if self.served.ignores_range else start
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        self._head(206 if start else 200, len(whole) - start, headers)
        if self.command == "GET":
            self._send(name, whole[start:])

    def _send(self, name: str, body: bytes) -> None:
        if name in self.served.cut_once:
            self.served.cut_once.remove(name)
            body = body[: len(body) // 2]
            self.close_connection = True
        if name in self.served.held:
            self.served.held[name].wait(_HELD_AT_MOST_S)
        if name in self.served.stalled:
            self.wfile.write(body[: len(body) // 2])
            self.served.stalled[name].wait(_HELD_AT_MOST_S)
            body = body[len(body) // 2 :]
        with suppress(ConnectionError):  # the client was killed
            self.wfile.write(body)

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self._head(200, len(body), {"Content-Type": "application/json"})
        self.wfile.write(body)

    def _deny(self, denial: Denial) -> None:
        status, code, message = denial
        self._head(status, 0, {"X-Error-Code": code, "X-Error-Message": message})

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(length)}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
