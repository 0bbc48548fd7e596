"""Damage to files that looks like what happens to them, and like what someone would do to us.

Every function takes the bytes of a good file and a generator, and returns the bytes of a bad one.
"""

import copy
import gzip
import io
import json
import random
import re
import struct
import zipfile
from typing import Any

NUMBERS = (
    *(b"0", b"-1", b"1", b"1e300", b"1e-300", b"nan", b"inf", b"-inf", b"1e12", b"99999999999999"),
    *(b"2147483647", b"-2147483648", b"18446744073709551616", b"0.0", b"1e5", b"", b"0x10"),
)
WORDS = (
    *(b"../../../../etc/passwd", b"/etc/passwd", b"..", b"~", b"\x00", b"\xff\xfe", b"'\"", b"{}"),
    *(b"[" * 3000, b"!!python/object/apply:os.system [exit 3]", b"&a [*a]", "é\u202e".encode()),
    *(b"A" * 5000, b"\r\n", b"%s%n", b"__class__", b"true", b"null", b"1/0", b",,,,", b"\t\t"),
)
INTEGERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, 1e308, -1e308, 10**400, float("nan"), float("inf"), ""),
    *("x", "../../../../tmp/out", "/etc/passwd", [], {}, [[]], [None], {"": None}, "\x00", "1e9"),
    *(10**12, 2**63, -(2**63), "A" * 3000, [1] * 1000, {"kind": "x"}, ["a", "a"], [0, 0, 0]),
)


def bytes_of(whole: bytes, draw: random.Random) -> bytes:
    """Flip, overwrite, cut, repeat or take away some bytes."""
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            return bytes(draw.randbytes(draw.randrange(64)))
        # Headers decide more than samples.
        near = draw.random() < 0.6
        at = draw.randrange(min(len(data), 4096) if near else len(data))
        length = min(draw.choice((1, 2, 4, 8, 64, 1024)), len(data) - at)
        what = draw.randrange(7)
        if what == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            packed = struct.pack(draw.choice("<>") + "Q", draw.choice(INTEGERS))
            packed = packed[:length] if draw.random() < 0.5 else packed[-length:]
            data[at : at + len(packed)] = packed
        elif what == 2:
            data[at : at + length] = draw.randbytes(length)
        elif what == 3:
            del data[at : at + length]
        elif what == 4:
            data[at:at] = data[at : at + length] * draw.choice((1, 2, 50))
        elif what == 5:
            del data[at:]
        else:
            data[at : at + length] = bytes([draw.choice((0, 255, 32, 10))]) * length
    return bytes(data)


def text(whole: bytes, draw: random.Random) -> bytes:
    """Replace a number or a word, or move lines about."""
    data = whole
    for _ in range(draw.choice((1, 1, 2, 3))):
        found = list(re.finditer(draw.choice((rb"-?\d+\.?\d*", rb"[^\s,;:]+")), data[:20_000]))
        lines = data.split(b"\n")
        what = draw.randrange(6)
        if what <= 2 and found:
            spot = draw.choice(found[:40] if draw.random() < 0.6 else found)
            data = data[: spot.start()] + draw.choice(NUMBERS + WORDS) + data[spot.end() :]
        elif what == 3:
            del lines[draw.randrange(len(lines))]
            data = b"\n".join(lines)
        elif what == 4:
            lines.insert(draw.randrange(len(lines)), draw.choice(lines))
            data = b"\n".join(lines)
        else:
            data = bytes_of(data, draw)
    return data


def fields(whole: bytes, draw: random.Random) -> bytes:
    """Overwrite fields of 8 bytes in a header of text, as EDF has it; its length stays."""
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.choice((184, 192, 236, 244, 252, draw.randrange(256), draw.randrange(4096)))
        value = draw.choice(NUMBERS)[:8].ljust(4 if at == 252 else 8)
        data[at : at + len(value)] = value
    return bytes(data) if draw.random() < 0.8 else bytes_of(bytes(data), draw)


def json_of(whole: bytes, draw: random.Random) -> bytes:
    """Put an odd value in the place of another, take one away, or add one."""
    if draw.random() < 0.1:
        return text(whole, draw)
    data = json.loads(whole)
    for _ in range(draw.choice((1, 1, 2, 3))):
        spot, key = draw.choice(list(_places(data)) or [(None, None)])
        if spot is None:
            return json.dumps(draw.choice(VALUES)).encode()
        if draw.random() < 0.15:
            del spot[key]
        elif draw.random() < 0.1 and isinstance(spot, dict):
            spot[draw.choice(("x", "../x", "", "format"))] = copy.deepcopy(spot[key])
        else:
            spot[key] = copy.deepcopy(draw.choice(VALUES))
    return json.dumps(data).encode()


def _places(data: Any) -> Any:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value)


def inside_gzip(inner: Any) -> Any:
    """Damage what is packed, and pack it again; now and then the packing itself."""

    def mutate(whole: bytes, draw: random.Random) -> bytes:
        if draw.random() < 0.2:
            return bytes_of(whole, draw)
        return gzip.compress(inner(gzip.decompress(whole), draw), 1)

    return mutate


def zip_of(whole: bytes, draw: random.Random) -> bytes:
    """Damage a member of an archive, its name or its place; now and then the archive itself."""
    if draw.random() < 0.2:
        return bytes_of(whole, draw)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = [(each.filename, archive.read(each)) for each in archive.infolist()]
    at = draw.randrange(len(members))
    name, content = members[at]
    what = draw.randrange(6)
    if what <= 2:
        is_array = name.endswith(".npy") and draw.random() < 0.6
        members[at] = name, (npy if is_array else bytes_of)(content, draw)
    elif what == 3:
        odd = draw.choice(("../../../../tmp/out.npy", "/tmp/out.npy", "é", "x" * 300, "data.npy"))
        members[at] = odd, content
    elif what == 4:
        del members[at]
    else:
        members.append((name, members[draw.randrange(len(members))][1]))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw.choice((0, zipfile.ZIP_DEFLATED))) as to:
        for name, content in members:
            to.writestr(name, content)
    return packed.getvalue()


def npy(whole: bytes, draw: random.Random) -> bytes:
    """Give an array another shape or type than its bytes have."""
    if draw.random() < 0.3:
        return bytes_of(whole, draw)
    size = struct.unpack("<H", whole[8:10])[0]
    header = whole[10 : 10 + size]
    if draw.random() < 0.7:
        shape = draw.choice(
            (b"(1000000000000,)", b"(-1,)", b"()", b"(0,)", b"(0, 2, 5)", b"(3, 1000000, 1000000)",
             b"(2, 2)", b"(99999999999999999999,)", b"(1.5,)", b"(" + b"(" * 200)
        )  # fmt: skip
        header = re.sub(rb"'shape': [^}]*", b"'shape': " + shape, header)
    else:
        kind = draw.choice((b"|O", b"<f8", b"<M8[ns]", b"|V8", b"<U9999", b"<c16", b"|S0", b"<f2"))
        header = re.sub(rb"'descr': '[^']*'", b"'descr': '" + kind + b"'", header)
    return whole[:8] + struct.pack("<H", len(header)) + header + whole[10 + size :]


ANY = (bytes_of,)
