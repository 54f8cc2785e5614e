"""An S3 API that is never the bottleneck, to list and read `bench.made_archive`: GET only, signatures unchecked.

Run as a process of its own: `python -m bench.archive_api --hours 8760`. It prints its port as JSON when it is ready,
and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from itertools import chain, islice
from urllib.parse import parse_qsl, unquote, urlsplit

from bench.made_archive import BUCKET, LAYOUT, body, etag, manifest, manifest_keys, object_keys

PAGE = 1000
MISSING = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>"


class Pages:
    """The listing's pages as XML, made once; of a manifest or object the number of its hour."""

    def __init__(self, hours: int) -> None:
        self.hours: dict[str, int] = {key: number for number, key in enumerate(manifest_keys(hours))}
        self.objects: dict[str, int] = {key: number for number, key in enumerate(object_keys(hours))}
        # By prefix: "_" sorts before the data's "instance=".
        self._bodies = {
            LAYOUT.manifests: list(self._pages(iter(self.hours))),
            LAYOUT.prefix: list(self._pages(chain(self.hours, self.objects))),
        }

    def _pages(self, keys: Iterator[str]) -> Iterator[bytes]:
        while page := list(islice(keys, PAGE)):
            entries = []
            for key in page:
                made = self.read(key) or b""
                entries.append(
                    f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>&quot;{etag(made)}&quot;</ETag><Size>{len(made)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                )
            yield "".join(entries).encode()

    def read(self, key: str) -> bytes | None:
        if key in self.hours:
            return manifest(self.hours[key])
        return body(self.objects[key]) if key in self.objects else None

    def listing(self, query: dict[str, str]) -> bytes:
        bodies = self._bodies.get(query.get("prefix", ""), [])
        place = int(query.get("continuation-token", 0))
        more = place + 1 < len(bodies)
        token = f"<NextContinuationToken>{place + 1}</NextContinuationToken>" if more else ""
        head = f"<Name>{BUCKET}</Name><IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}".encode()
        entries = bodies[place] if place < len(bodies) else b""
        return b"<?xml version='1.0'?><ListBucketResult>" + head + entries + b"</ListBucketResult>"


class Connection(asyncio.Protocol):
    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # Requests have no bodies.
        *heads, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for head in heads:
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, target: str) -> None:
        url = urlsplit(target)
        key = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        found = self._pages.read(key) if key else self._pages.listing(dict(parse_qsl(url.query)))
        status, answer = (b"404 Not Found", MISSING) if found is None else (b"200 OK", found)
        head = b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % (status, len(answer))
        self._transport.write(head + answer)


async def serve(hours: int) -> None:
    pages = Pages(hours)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(pages), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, required=True)
    asyncio.run(serve(parser.parse_args().hours))


if __name__ == "__main__":
    main()
