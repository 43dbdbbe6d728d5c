"""The server of the board, for this machine alone.

It listens on the loopback address. A request whose ``Host`` is another name than that of
this machine is refused, so that a web page from elsewhere cannot read the board through a
name that it lets point here (DNS rebinding). A request names a run, a stage and a page;
the answer comes from what the root was found to hold, so that no path of a request is ever
opened.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wsss_plugins.board import page
from wsss_plugins.board.runs import read_run, work_dirs
from wsss_plugins.errors import UserError
from wsss_plugins.progress import say
from wsss_plugins.structures.layout import ERRORS_PAGE_FILE, REPORT_FILE

LOOPBACK = '127.0.0.1'
HOSTS = frozenset({LOOPBACK, 'localhost', '[::1]'})
"""Names of this machine; another port than ours is that of a tunnel."""

PAGES = frozenset({REPORT_FILE, ERRORS_PAGE_FILE})
"""Files of stages that are served, as they are."""

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    'Content-Security-Policy': POLICY,
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}
HTML, SCRIPT, TEXT = (
    f'text/{kind}; charset=utf-8' for kind in ('html', 'javascript', 'plain')
)
Answer = tuple[int, str, str]
"""Status, type and text."""

NOT_FOUND: Answer = (404, TEXT, 'There is no such page on this board.\n')


class Board:
    """The pages of the board.

    Args:
        root: Folder with the work dirs, at any depth.

    Raises:
        UserError: ``root`` is no folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f'{root} is no folder: name one that has work dirs')
        self.root = root.resolve()
        self._one_at_a_time = threading.Lock()

    def answer(self, target: str) -> Answer:
        """The answer to a request.

        Args:
            target: Its path and query, such as ``/run?name=acr/synthetic_pipeline``.

        Returns:
            Status, type and text.
        """
        try:
            parts = urlsplit(target)
            query = parse_qs(parts.query, errors='surrogateescape')
        except ValueError:
            return NOT_FOUND
        given = {key: values[0] for key, values in query.items()}
        with self._one_at_a_time:
            if parts.path == '/':
                runs = [read_run(self.root, folder) for folder in work_dirs(self.root)]
                return 200, HTML, page.index(self.root, runs, given)
            if parts.path == '/board.js':
                return 200, SCRIPT, _script()
            if parts.path == '/run':
                return self._run(given.get('name', ''))
            if parts.path == '/file':
                return self._file(
                    *(given.get(k, '') for k in ('name', 'stage', 'file'))
                )
        return NOT_FOUND

    def _run(self, name: str) -> Answer:
        folder = self._folder(name)
        if folder is None:
            return NOT_FOUND
        return 200, HTML, page.run_page(read_run(self.root, folder), PAGES)

    def _file(self, name: str, stage: str, file: str) -> Answer:
        """A page that a stage wrote, which must lie below the root."""
        folder = self._folder(name)
        if folder is None or file not in PAGES:
            return NOT_FOUND
        stages = {each.name: each.folder for each in read_run(self.root, folder).stages}
        path = stages[stage] / file if stage in stages else None
        if path is None or not path.resolve().is_relative_to(self.root):
            return NOT_FOUND
        try:
            return 200, HTML, path.read_text('utf-8', errors='replace')
        except OSError:
            return NOT_FOUND

    def _folder(self, name: str) -> Path | None:
        """The work dir with this name, of those that were found."""
        found = {f.relative_to(self.root).as_posix(): f for f in work_dirs(self.root)}
        return found.get(name)


def _script() -> str:
    return Path(__file__).with_name('board.js').read_text('utf-8')


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; everything else is refused by the base class."""

    server: _Server
    server_version, sys_version = 'wsss', ''
    timeout = 20

    def do_GET(self) -> None:
        """Answers with a page."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answers with the headers of a page."""
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        hosts = self.headers.get_all('Host') or []
        if len(hosts) != 1 or _name_of(hosts[0]) not in HOSTS:
            answer: Answer = (403, TEXT, 'This board answers to this machine alone.\n')
        else:
            try:
                answer = self.server.board.answer(self.path)
            except Exception as error:  # such as of a work dir that is being removed
                reason = ' '.join(str(error).split())
                say(f'board: {type(error).__name__}: {reason}')
                answer = (500, TEXT, f'This page could not be made: {reason}\n')
        status, kind, text = answer
        content = text.encode('utf-8', errors='replace')
        self.send_response(status)
        for key, value in {**HEADERS, 'Content-Type': kind}.items():
            self.send_header(key, value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a page that is open asks every few seconds."""


def _name_of(host: str) -> str:
    """The name in a ``Host`` header, without the port."""
    name, colon, port = host.strip().lower().rpartition(':')
    return name if colon and port.isdecimal() else host.strip().lower()


class _Server(ThreadingHTTPServer):
    """A server on the loopback address."""

    daemon_threads = True

    def __init__(self, board: Board, port: int) -> None:
        self.board = board
        super().__init__((LOOPBACK, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of connections that the other end closed."""


def make_server(root: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the board that listens, and answers once ``serve_forever`` is called.

    Args:
        root: Folder with the work dirs.
        port: Number of the port; 0 for any that is free.

    Raises:
        UserError: ``root`` is no folder, or the port is taken.
    """
    try:
        return _Server(Board(root), port)
    except (OSError, OverflowError) as error:
        raise UserError(
            f'port {port} of {LOOPBACK} cannot be used ({error}): choose another with '
            '--port'
        ) from error


def serve(root: Path, port: int) -> None:
    """Serves the board until it is interrupted.

    Args:
        root: Folder with the work dirs.
        port: Number of the port.

    Raises:
        UserError: ``root`` is no folder, or the port is taken.
    """
    with make_server(root, port) as server:
        say(f'http://{LOOPBACK}:{server.server_address[1]}/ (Ctrl-C ends it)')
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say('the board has ended; the runs go on')
