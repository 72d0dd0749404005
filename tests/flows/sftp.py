"""An SFTP server on the loopback, for one test: a throwaway key gets in, and sees one folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def serve(folder: Path, keys: Path) -> Iterator[tuple[int, Path, Path]]:
    """(port, file of the private key, file of known hosts) while the server runs; `folder` is the root that clients see."""
    import asyncssh

    keys.mkdir(parents=True, exist_ok=True)
    mine, host = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key = keys / "id"
    mine.write_private_key(str(key))
    os.chmod(key, 0o600)
    mine.write_public_key(str(keys / "authorized"))
    loop, ready, port = asyncio.new_event_loop(), threading.Event(), []

    async def start():
        server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=str(keys / "authorized"),
                                       sftp_factory=lambda chan: asyncssh.SFTPServer(chan, chroot=str(folder).encode()))
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        return server

    def run():
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(start())
        loop.run_forever()
        server.close()
        loop.run_until_complete(server.wait_closed())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30), "the server did not start"
    known = keys / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port[0]} {host.export_public_key().decode()}")
    try:
        yield port[0], key, known
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
