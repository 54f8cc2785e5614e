"""An S3 API that is never the bottleneck, to list and read `bench.made_archive`: GET only, signatures unchecked.

It prints its port as JSON when it is ready, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
from hashlib import md5
from urllib.parse import parse_qsl, unquote, urlsplit

from bench.made_archive import BUCKET, LAYOUT, objects
from bench.processes import serve_until_closed
from bench.sealed_archive import sealed_objects

PAGE = 1000
MISSING = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>"


class Archive:
    """The objects, and the pages of their listing as XML, made once."""

    def __init__(self, hours: int, sealed: bool) -> None:
        self.objects = dict(sorted((sealed_objects if sealed else objects)(hours)))
        self._pages: dict[str, list[bytes]] = {}
        for prefix in (LAYOUT.manifests, LAYOUT.seals, LAYOUT.prefix):
            entries = [_entry(key, body) for key, body in self.objects.items() if key.startswith(prefix)]
            self._pages[prefix] = ["".join(entries[at : at + PAGE]).encode() for at in range(0, len(entries), PAGE)]

    def answer(self, target: str) -> bytes | None:
        url = urlsplit(target)
        key = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        return self.objects.get(key) if key else self._listing(dict(parse_qsl(url.query)))

    def _listing(self, query: dict[str, str]) -> bytes:
        pages = self._pages.get(query.get("prefix", ""), [])
        place = int(query.get("continuation-token", 0))
        more = place + 1 < len(pages)
        token = f"<NextContinuationToken>{place + 1}</NextContinuationToken>" if more else ""
        head = f"<Name>{BUCKET}</Name><IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}".encode()
        entries = pages[place] if place < len(pages) else b""
        return b"<?xml version='1.0'?><ListBucketResult>" + head + entries + b"</ListBucketResult>"


def _entry(key: str, body: bytes) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{md5(body).hexdigest()}&quot;</ETag><Size>{len(body)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


class Connection(asyncio.Protocol):
    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # Requests have no bodies.
        *heads, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for head in heads:
            found = self._archive.answer(head.split(b" ", 2)[1].decode())
            status, answer = (b"404 Not Found", MISSING) if found is None else (b"200 OK", found)
            start = b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(start % (status, len(answer)) + answer)


async def serve(hours: int, sealed: bool) -> None:
    archive = Archive(hours, sealed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(archive), "127.0.0.1", 0)
    await loop.run_in_executor(None, serve_until_closed, server.sockets[0].getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, required=True)
    parser.add_argument("--sealed", action="store_true", help="with signatures and a seal")
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.hours, chosen.sealed))


if __name__ == "__main__":
    main()
