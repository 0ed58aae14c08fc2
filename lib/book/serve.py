"""A small web server for the built site, on this machine only."""

import functools
import http.server
from pathlib import Path

from lib.errors import UserError

HOST = "127.0.0.1"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def end_headers(self):
        self.send_header("Cache-Control", "no-cache")  # a rebuilt page must not be hidden by an old one
        super().end_headers()


def server_for(folder: Path, port: int = 8000) -> http.server.ThreadingHTTPServer:
    """A server of `folder` on 127.0.0.1, not yet started; on a free port when `port` is taken. 0: any port.

    Raises UserError when there is no site in the folder.
    """
    if not (folder / "index.html").is_file():
        raise UserError(f"{folder} holds no site; build it with `make read` or `make book`.")
    handler = functools.partial(_Quiet, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer((HOST, port), handler)
    except OSError:
        return http.server.ThreadingHTTPServer((HOST, 0), handler)


def serve(folder: Path, port: int = 8000) -> None:
    """Serve until Ctrl-C, after printing the address."""
    with server_for(folder, port) as server:
        print(f"The book: http://{HOST}:{server.server_address[1]}/   (Ctrl-C stops it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
