"""A server that receives the requests of watchers, answers as told, and keeps them."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Takes POST requests on a port of its own.

    Args:
        answers: status and headers of one answer after the other; the last one goes on. A status of 0 is none at all.

    Attributes:
        got: path, headers and body of each request.
    """

    def __init__(self, *answers):
        self.got, self._answers = [], list(answers) or [(200, {})]
        self._deaf = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # http.server's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answers = server._answers
                status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                server.got.append((self.path, dict(self.headers), body))
                if status == 0:
                    server._deaf.wait(30)
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *told):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self):
        self._deaf.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def listening(*answers):
    server = Server(*answers)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def within(seconds):
    """Fails if the block takes longer."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds
