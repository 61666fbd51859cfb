"""A TCP proxy that a test can cut, freeze and mend, so that a server can be away without being stopped."""

import contextlib
import socket
import threading

_CHUNK = 65536


class TcpProxy:
    """Forwards a port of its own to a server on loopback.

    `cut` drops every connection and refuses new ones; `freeze` keeps them and forwards nothing, as a
    network that swallows packets does; `mend` ends either.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._flowing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        #: Connections so far.
        self.accepted = 0
        self.mend()

    def mend(self) -> None:
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def freeze(self) -> None:
        self._flowing.clear()

    def cut(self) -> None:
        listener, self._listener = self._listener, None
        for open_socket in [*self._sockets, *([listener] if listener else [])]:
            _close(open_socket)
        self._sockets.clear()
        self._flowing.set()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.accepted += 1
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    # Whoever connects while the server is down is told so.
                    _close(client)
                    continue
                self._sockets |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._flowing.wait()
                sink.sendall(data)
        for end in (source, sink):
            _close(end)


def _close(end: socket.socket) -> None:
    """Wakes whoever waits on the socket, too."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
