"""A TCP proxy on loopback that holds bytes back, breaks connections or refuses them."""
import contextlib
import select
import socket
import threading
import time


class TcpProxy:
    """Forwards 127.0.0.1:port to 127.0.0.1:target, each piece `delay` seconds late in both directions."""

    def __init__(self, target, delay=0.0):
        self.target, self.delay, self.refusing = target, delay, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self.ended = threading.Event()
        self.pairs, self.lock = [], threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.ended.is_set():
            try:
                client, _ = self.listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(None)
            with self.lock:
                self.pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source, sink):
        waiting = []  # (due, bytes): the delay does not narrow the throughput
        try:
            while not self.ended.is_set():
                limit = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.2
                if select.select([source], [], [], limit)[0]:
                    piece = source.recv(65536)
                    if not piece:
                        break
                    waiting.append((time.monotonic() + self.delay, piece))
                while waiting and waiting[0][0] <= time.monotonic():
                    sink.sendall(waiting.pop(0)[1])
        except (OSError, ValueError):
            pass
        self._close(source, sink)

    @staticmethod
    def _close(*ends):
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self, refuse=False):
        """Breaks all connections, and refuses new ones while `refuse`."""
        self.refusing = refuse
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self._close(*pair)

    def stop(self):
        self.ended.set()
        self.listener.close()
        self.cut()
