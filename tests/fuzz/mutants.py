"""Ways to damage what comes from outside: bytes, JSON, CSV, zip archives and heads of answers."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

Mutate = Callable[[Random, bytes], bytes]

ABSURD_NUMBERS = (-1, 0, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**15, 10**30, 10**5000, 1.5, 1e308, True)
ABSURD_TIMES = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:60-14:00",
    "2025-02-30T00:00:00Z",
    "2025-11-03",
    "",
    "now",
    "1762128000",
    "2025-11-03T00:00:00",
    "\u0662025-11-03T00:00:00Z",
)
ODD_TEXTS = ("", "\x00", "é", "\u2028", "a" * 100_000, "\N{FULLWIDTH EQUALS SIGN}1", "' OR 1=1 --", "\x1b[31m", "👾")


# Bytes


def cut(random: Random, body: bytes) -> bytes:
    return body[: random.randrange(len(body) + 1)]


def flip(random: Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(random.choice([1, 1, 1, 5]) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def not_utf8(random: Random, body: bytes) -> bytes:
    place = random.randrange(len(body) + 1)
    return body[:place] + random.choice([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x80"]) + body[place:]


def repeat(random: Random, body: bytes) -> bytes:
    first, last = sorted(random.randrange(len(body) + 1) for _ in range(2))
    return body[:last] + body[first:last] * random.choice([1, 2, 20]) + body[last:]


def leave_out(random: Random, body: bytes) -> bytes:
    first, last = sorted(random.randrange(len(body) + 1) for _ in range(2))
    return body[:first] + body[min(last, first + 50) :]


def add(random: Random, body: bytes) -> bytes:
    extra = random.choice([b"\n", b"{}", b"\x00", b" " * 100_000, b"<html>", random.randbytes(20), b"\xef\xbb\xbf"])
    return random.choice([body + extra, extra + body])


def other_encoding(random: Random, body: bytes) -> bytes:
    try:
        return body.decode().encode(random.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7"]))
    except UnicodeError:
        return body


BYTES: tuple[Mutate, ...] = (cut, flip, flip, not_utf8, repeat, leave_out, add, other_encoding)


# JSON


class _Twice(dict[str, Any]):
    """An object of which a member is written twice, with another value."""

    def __init__(self, members: dict[str, Any], name: str, value: Any) -> None:
        super().__init__(members)
        self._more = (name, value)

    def items(self) -> Any:
        return [*super().items(), self._more]


def json_structure(random: Random, body: bytes) -> bytes:
    """Change one value, name or row somewhere in a JSON text."""
    try:
        value = json.loads(body)
    except ValueError:
        return flip(random, body)
    places = list(_places(value))
    if not places:
        return flip(random, body)
    # Deep places are many; those near the top decide more.
    place = random.choice(places[: random.choice([6, 20, len(places)])])
    return _dump(_changed(random, value, place))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Give the paths of all values within, those near the top first."""
    waiting = [(value, path)]
    while waiting:
        value, path = waiting.pop(0)
        if path:
            yield path
        if isinstance(value, dict):
            waiting += [(child, (*path, name)) for name, child in value.items()]
        elif isinstance(value, list):
            waiting += [(child, (*path, number)) for number, child in enumerate(value)]


def _changed(random: Random, value: Any, path: tuple[Any, ...]) -> Any:
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    last = path[-1]
    if isinstance(holder, list):
        _change_list(random, holder, last)
        return value
    how = random.choice(["value", "value", "value", "remove", "rename", "twice", "more"])
    if how == "remove":
        del holder[last]
    elif how == "rename":
        holder[random.choice([last.upper(), last + "_", "", last[:-1], "İ" + last])] = holder.pop(last)
    elif how == "more":
        holder["made_up"] = odd_value(random, None)
    elif how == "twice":
        twice = _Twice(holder, last, odd_value(random, holder[last]))
        if len(path) == 1:
            return twice
        outer = value
        for step in path[:-2]:
            outer = outer[step]
        outer[path[-2]] = twice
    else:
        holder[last] = odd_value(random, holder[last])
    return value


def _change_list(random: Random, rows: list[Any], at: int) -> None:
    how = random.choice(["remove", "double", "swap", "value", "reverse", "empty"])
    if how == "remove":
        del rows[at]
    elif how == "double":
        rows.insert(random.randrange(len(rows) + 1), rows[at])
    elif how == "swap":
        other = random.randrange(len(rows))
        rows[at], rows[other] = rows[other], rows[at]
    elif how == "reverse":
        rows.reverse()
    elif how == "empty":
        rows.clear()
    else:
        rows[at] = odd_value(random, rows[at])


def odd_value(random: Random, value: Any) -> Any:
    """Return something else in a value's place, often of the same type."""
    if random.random() < 0.6:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return random.choice([value + 1, value - 1, -value, str(value), float(value), *ABSURD_NUMBERS])
        if isinstance(value, str):
            return random.choice([*ABSURD_TIMES, *ODD_TEXTS, value + "x", value[:-1], value.upper(), None])
    deep = random.choice([10, 1_000, 100_000])
    return random.choice(
        [None, True, [], {}, "", 0, [value], {"a": value}, *ABSURD_NUMBERS, _Raw("[" * deep + "]" * deep), _Raw("NaN"),
         _Raw('"\\ud800"'), _Raw("Infinity"), _Raw("1e999"), _Raw("-0"), _Raw("1E2"), _Raw("01")]
    )  # fmt: skip


class _Raw(str):
    """Text that stands in JSON as it is."""


def _dump(value: Any) -> bytes:
    """Write JSON, with what no encoder would write."""
    pieces: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, _Raw):
            pieces.append(each)
        elif isinstance(each, dict):
            members = [[_Raw(json.dumps(name) + ":"), child] for name, child in each.items()]
            waiting += reversed([_Raw("{"), *_joined(members), _Raw("}")])
        elif isinstance(each, list):
            waiting += reversed([_Raw("["), *_joined([[child] for child in each]), _Raw("]")])
        elif isinstance(each, int) and not isinstance(each, bool):
            # Python itself refuses to write a number of more than 4,300 digits.
            pieces.append("1" + "0" * 5000 if each.bit_length() > 10_000 else str(each))
        else:
            pieces.append(json.dumps(each, ensure_ascii=False))
    return "".join(pieces).encode("utf-8", "surrogatepass")


def _joined(groups: list[list[Any]]) -> list[Any]:
    found: list[Any] = []
    for group in groups:
        found += [_Raw(","), *group] if found else group
    return found


JSON: tuple[Mutate, ...] = (*BYTES, *[json_structure] * 10)


# CSV and zip


def csv_text(random: Random, content: bytes) -> bytes:
    """Change rows, cells or the header of a CSV."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return flip(random, content)
    at = random.randrange(len(lines))
    how = random.choice(["remove", "double", "swap", "cell", "cell", "quote", "header", "bytes", "blank", "ends"])
    if how == "remove":
        del lines[at]
    elif how == "double":
        lines.insert(random.randrange(1, len(lines) + 1), lines[at])
    elif how == "swap":
        other = random.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif how == "cell":
        cells = lines[at].split(b",")
        place = random.randrange(len(cells))
        odd = random.choice([*ABSURD_TIMES, *ODD_TEXTS, "1", "-1", str(10**30), '"', "a,b", "\n", "=1+1"])
        cells[place] = random.choice([odd.encode(), b"", cells[place] * 2])
        lines[at] = b",".join(cells)
    elif how == "quote":
        lines[at] = b'"' + lines[at]
    elif how == "header":
        names = lines[0].rstrip(b"\r\n").split(b",")
        changes: list[Callable[[], object]] = [names.reverse, names.pop]
        changes += [lambda: names.append(names[0]), lambda: names.insert(0, b"")]
        random.choice(changes)()
        lines[0] = b",".join(names) + b"\n"
    elif how == "blank":
        lines.insert(at, random.choice([b"\n", b"\r\n", b",,,\n", b"\n" * 1000]))
    elif how == "ends":
        return random.choice([content.replace(b"\n", b"\r"), content.replace(b"\n", b"\r\n"), content.rstrip(b"\n")])
    else:
        return random.choice(BYTES)(random, content)
    return b"".join(lines)


def zip_surgery(random: Random, archive: bytes) -> bytes:
    """Pack the content of an archive's one member again, in a way that no server does."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        [name] = file.namelist()
        content = file.read(name)
    how = random.choice(["name", "two", "none", "method", "comment", "folder", "nested", "fields", "fields", "text"])
    if how == "text":
        return zipped({name: csv_text(random, content)})
    if how == "name":
        odd = random.choice(["other.csv", "../" + name, "/" + name, name.upper(), "", name + "_incomplete", "é" * 300])
        return zipped({odd: content})
    if how == "two":
        other = random.choice([name, "more.csv", "__MACOSX/x"])
        return zipped([(name, content), (other, random.choice([content, b"", b"x"]))])
    if how == "none":
        return zipped({})
    if how == "method":
        methods = (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        damaged = zipped({name: content}, random.choice(methods))
        return random.choice([damaged, flip(random, damaged)])
    if how == "comment":
        return zipped({name: content}, comment=random.choice([b"PK\x05\x06" + b"\x00" * 18, b"x" * 65_000]))
    if how == "folder":
        return zipped([("folder/", b""), (name, content)])
    if how == "nested":
        return random.choice([zipped({name: archive}), gzip.compress(archive, mtime=0)])
    # The fields of the local header, of the directory and of its end: sizes, offsets, flags, methods, CRC.
    changed = bytearray(archive)
    start = random.choice([archive.find(b"PK\x03\x04"), archive.rfind(b"PK\x01\x02"), archive.rfind(b"PK\x05\x06")])
    place = start + 4 + random.randrange(18)
    changed[place : place + random.choice([1, 2, 4])] = random.choice([b"\xff", b"\xff" * 4, b"\x00" * 4, b"\x01\x00"])
    return bytes(changed)


def zipped(members: Any, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """Pack members of any names, twice the same ones too."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items() if isinstance(members, dict) else members:
            file.filelist = [each for each in file.filelist if each.filename != name] + [
                each for each in file.filelist if each.filename == name
            ]
            file.NameToInfo.pop(name, None)
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
        file.comment = comment
    return buffer.getvalue()


def csv_in_zip(random: Random, archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        [name] = file.namelist()
        return zipped({name: csv_text(random, file.read(name))})


ZIP: tuple[Mutate, ...] = (*BYTES, *[csv_in_zip] * 8, *[zip_surgery] * 4)


# Heads


def head(random: Random, answer: bytes) -> bytes:
    """Change the status line or a header of an answer."""
    top, _, body = answer.partition(b"\r\n\r\n")
    lines = top.split(b"\r\n")
    how = random.choice(["status", "status", "header", "header", "header", "remove", "bytes", "length"])
    if how == "status":
        lines[0] = random.choice(_STATUS_LINES)
    elif how == "header":
        lines.insert(random.randrange(1, len(lines) + 1), random.choice(_HEADERS))
    elif how == "remove" and len(lines) > 1:
        del lines[random.randrange(1, len(lines))]
    elif how == "length":
        wrong = random.choice([b"-1", b"0", b"10", b"99999999999999999999", b"x", b"1e3", b"%d" % (len(body) - 1)])
        lines = [line for line in lines if not line.lower().startswith(b"content-length")]
        lines.append(b"Content-Length: " + wrong)
    else:
        return random.choice(BYTES)(random, top) + b"\r\n\r\n" + body
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_STATUS_LINES = (
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 " + b"x" * 70_000,
    b"HTTP/1.1 \xff\xfe OK",
    b"HTTP/9.9 200 OK",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 101 Switching",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 206 Partial",
    b"HTTP/1.1 299 Strange",
    b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\xff",
    b"HTTP/1.1 302 Found\r\nLocation: http://[::1",
    b"HTTP/1.1 302 Found\r\nLocation: /x\x00y",
    b"HTTP/1.1 302 Found\r\nLocation: http://other.example/made-up-token-c0ffee",
    b"HTTP/1.1 307 Again\r\nLocation: ?",
    b"HTTP/1.1 400 made-up-token-c0ffee",
    b"HTTP/1.1 401 Unauthorized",
    b"HTTP/1.1 403 \x1b[31mForbidden",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 418 Teapot",
    b"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999999999999999",
    b"HTTP/1.1 429 Slow\r\nRetry-After: nan",
    b"HTTP/1.1 429 Slow\r\nRetry-After: inf",
    b"HTTP/1.1 429 Slow\r\nRetry-After: Thu, 99 Xxx 9999 99:99:99 +9999",
    b"HTTP/1.1 429 Slow\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 -1400",
    b"HTTP/1.1 503 Away\r\nRetry-After: -5",
    b"HTTP/1.1 999 Far",
    b"<html>",
    b"",
)
_HEADERS = (
    b"Content-Encoding: gzip",
    b"Content-Encoding: br",
    b"Content-Encoding: gzip, gzip",
    b"Content-Encoding: \xff",
    b"Content-Encoding: made-up-token-c0ffee",
    b"Content-Type: text/html",
    b"Content-Type: \xff\xff; charset=\xff",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Length: 5",
    b"Set-Cookie: a=\xff; Expires=never",
    b"no colon at all",
    b" folded",
    b": no name",
    b"X: " + b"y" * 70_000,
    b"\r\n".join(b"X-%d: y" % number for number in range(200)),
)

# Bombs


def gzip_bomb(megabytes: int, start: bytes = b'{"data":[') -> bytes:
    """Return a gzip stream of a few kilobytes that unpacks to so many megabytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(start)
        for _ in range(megabytes):
            file.write(b" " * (1 << 20))
    return buffer.getvalue()
