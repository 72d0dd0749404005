"""A real web server on loopback that misbehaves on purpose: the path of a request says how."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import struct
import threading
import time
from collections import Counter

BODY = bytes(range(256)) * 2048  # 512 KiB
DIGEST = hashlib.sha256(BODY).hexdigest()
TAG = '"v1"'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        what = self.path.strip("/").split("?")[0].split("/")[0]
        with server.lock:
            server.hits[what] += 1
            n = server.hits[what]
            server.ranges.append((what, self.headers.get("Range")))
            server.times.append((what, time.monotonic()))
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
        try:
            with contextlib.suppress(OSError):
                getattr(self, what.split("-")[0])(what, n)
        finally:
            self.close_connection = True
            with server.lock:
                server.busy -= 1

    def head(self, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Connection", "close")
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def asked(self, body=BODY, tag=TAG):
        """First byte to send, after the head of a good answer is sent; Range is honoured under If-Range."""
        wanted = self.headers.get("Range", "")
        if wanted and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.head(416, 0, Content_Range=f"bytes */{len(body)}")
                return None
            self.head(206, len(body) - start, ETag=tag, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
            return start
        self.head(200, len(body), ETag=tag, Content_Type="video/mp4")
        return 0

    def good(self, what, n):
        at = self.asked()
        if at is not None:
            self.wfile.write(BODY[at:])

    def truncate(self, what, n):
        """A quarter of the file a time, then the connection ends."""
        at = self.asked()
        self.wfile.write(BODY[at:at + len(BODY) // 4])

    def never(self, what, n):
        """Ends early every time, and knows no ranges."""
        self.head(200, len(BODY))
        self.wfile.write(BODY[:1000])

    def stall(self, what, n):
        """Goes silent in the middle, the first time; for good as stall-on."""
        at = self.asked()
        self.wfile.write(BODY[at:at + 100_000])
        self.wfile.flush()
        if n == 1 or what == "stall-on":
            self.server.release.wait(10)
        else:
            self.wfile.write(BODY[at + 100_000:])

    def drip(self, what, n):
        """A byte every 20 ms, for ever."""
        self.head(200, len(BODY))
        while not self.server.release.wait(0.02):
            self.wfile.write(b"x")
            self.wfile.flush()

    def reset(self, what, n):
        """Resets the connection in the middle, twice."""
        at = self.asked()
        self.wfile.write(BODY[at:at + 200_000])
        if n <= 2:
            self.wfile.flush()
            time.sleep(0.05)  # what is on the way when a reset comes is lost
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.wfile.write(BODY[at + 200_000:])

    def less(self, what, n):
        """Promises less than it sends."""
        self.head(200, len(BODY) // 2)
        self.wfile.write(BODY)

    def more(self, what, n):
        """Promises more than it sends."""
        self.head(200, len(BODY) * 2)
        self.wfile.write(BODY)

    def wrong(self, what, n):
        """Other bytes of the same length; only the first time as wrong-once."""
        self.head(200, len(BODY))
        self.wfile.write(BODY if what == "wrong-once" and n > 1 else BODY[:-1] + b"?")

    def changed(self, what, n):
        """Ends early, then has another version: a resumed file must not be a mix."""
        if n == 1:
            self.asked(BODY[::-1], '"v0"')
            self.wfile.write(BODY[::-1][:100_000])
        else:
            self.good(what, n)

    def liar(self, what, n):
        """Ends early, then answers a range from another place than was asked for."""
        if n == 2:
            self.head(206, 10, ETag=TAG, Content_Range=f"bytes 0-9/{len(BODY)}")
            self.wfile.write(BODY[:10])
        elif n == 1:
            self.asked()
            self.wfile.write(BODY[:100_000])
        else:
            self.good(what, n)

    def chunked(self, what, n):
        """No length at all; the first time the last chunk is missing."""
        self.head(200, Transfer_Encoding="chunked")
        for at in range(0, len(BODY), 100_000):
            block = BODY[at:at + 100_000]
            self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            if n == 1 and at:
                return
        self.wfile.write(b"0\r\n\r\n")

    def status(self, what, n):
        """status-CODE always, status-CODE-TIMES so often and then the file."""
        _, code, *times = what.split("-")
        if times and n > int(times[0]):
            return self.good(what, n)
        self.head(int(code), 0, **({"Retry_After": self.server.retry_after} if self.server.retry_after else {}))

    def file(self, what, n):
        """ftp and file redirects: what a fetch must not follow."""
        self.head(302, 0, Location="file:///etc/hostname")

    def moved(self, what, n):
        self.head(302, 0, Location="/good")

    def served(self, what, n):
        """Files given to the server: /served/NAME, a page where it ends in html."""
        name = self.path.split("/")[-1].split("?")[0]
        body = self.server.files.get(name)
        if body is None:
            return self.head(404, 0)
        kind = "text/html" if name.endswith("html") else "video/mp4"
        self.head(200, len(body), Content_Type=kind, ETag=f'"{name}"')
        if self.command == "GET":
            self.wfile.write(body)

    def member(self, what, n):
        """As served, for whoever brings the cookie key=open."""
        if "key=open" not in self.headers.get("Cookie", ""):
            return self.head(403, 0)
        self.served(what, n)

    def pair(self, what, n):
        """A file given to the server, byte by byte until a second request of this kind is under way, or for 10 s."""
        server, body, at = self.server, self.server.files[self.path.split("/")[-1]], 0
        with server.lock:
            server.waiting += 1
            if server.waiting > 1:
                server.met.set()
        self.head(200, len(body), Content_Type="video/mp4")
        while not server.met.wait(0.05) and at < 200:
            self.wfile.write(body[at:at + 1])
            at += 1
        with server.lock:
            server.waiting -= 1
        self.wfile.write(body[at:])

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def fault_server():
    """A server on loopback with `address`, `hits` per path, `ranges` asked for, `files` to serve, `most_busy` at one time, and
    `met` once two requests for a pair were under way together."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hits, server.ranges, server.times, server.files = Counter(), [], [], {}
    server.lock, server.release = threading.Lock(), threading.Event()
    server.busy, server.most_busy, server.retry_after = 0, 0, None
    server.waiting, server.met = 0, threading.Event()
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
