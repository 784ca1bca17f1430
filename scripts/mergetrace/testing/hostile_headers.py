"""Safetensors files as an adversary, a broken disk or another writer would make them.

Take these wherever a model's files are read: none of REFUSED may end in anything but an
AuditError of one line.

REFUSED: what is wrong -> (the file's bytes, a piece of the expected message). ACCEPTED:
what is odd -> (the file's bytes, tensor names).
"""

import json

LONG = "x" * 10_000


def file(header: bytes | dict, data: bytes = b"") -> bytes:
    """A file of this header (bytes as they are, a dict as JSON) and these tensor
    bytes.
    """
    if isinstance(header, dict):
        header = json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


def entry(
    start: int = 0,
    end: int = 8,
    shape: object = (2,),
    dtype: object = "F32",
    **more: object,
) -> dict:
    return {
        "dtype": dtype,
        "shape": list(shape) if isinstance(shape, tuple) else shape,
        "data_offsets": [start, end],
        **more,
    }


def one(data: bytes = bytes(8), **fields: object) -> bytes:
    """A file of one tensor `a`, whose entry has these fields."""
    return file({"a": entry(**fields)}, data)


def two(start: int, end: int, data: bytes) -> bytes:
    """A file of `a` at 0..8 and `b` at start..end."""
    return file({"a": entry(), "b": entry(start, end)}, data)


A = b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
GOOD = b"{" + A + b"}"

REFUSED = {
    "empty file": (b"", "only 0 bytes"),
    "shorter than a length": (b"\x02\0\0", "only 3 bytes"),
    "header of length zero": (bytes(8), "a header of 0 bytes"),
    "header beyond the file": (
        (1000).to_bytes(8, "little") + GOOD,
        f"a header of 1000 bytes where 2 to {len(GOOD)} can be",
    ),
    "header of 2^63 bytes": (
        (2**63).to_bytes(8, "little") + GOOD,
        "a header of 9223372036854775808 bytes",
    ),
    "header cut off": (
        file(GOOD, bytes(8))[:40],
        "truncated, or not a safetensors file",
    ),
    "space before the brace": (file(b" " + GOOD, bytes(8)), "does not start with '{'"),
    "an array": (file(b"[1, 2]"), "does not start with '{'"),
    "not JSON": (file(b"{not json}"), "JSON cannot be read"),
    "JSON cut off": (
        file(GOOD[:-1], bytes(8)),
        "nested too deeply, or its brackets do not match",
    ),
    "text after the JSON": (
        file(GOOD + b"x", bytes(8)),
        "JSON cannot be read (Extra data",
    ),
    "zero bytes after the JSON": (
        file(GOOD + bytes(4), bytes(8)),
        "JSON cannot be read (Extra data",
    ),
    "comment": (file(b"{/* hi */" + A + b"}", bytes(8)), "JSON cannot be read"),
    "byte order mark": (
        file(b"\xef\xbb\xbf" + GOOD, bytes(8)),
        "does not start with '{'",
    ),
    "invalid UTF-8": (
        file(b'{"\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
        "can't decode byte 0xff",
    ),
    "overlong UTF-8": (
        file(GOOD.replace(b'"a"', b'"\xc0\xaf"'), bytes(8)),
        "can't decode byte 0xc0",
    ),
    "lone surrogate": (
        file(GOOD.replace(b'"a"', rb'"\ud800"'), bytes(8)),
        "surrogates not allowed",
    ),
    "raw control character in a name": (
        file(GOOD.replace(b'"a"', b'"\0"'), bytes(8)),
        "Invalid control character",
    ),
    "tensor twice": (
        file(b"{" + A + b"," + A + b"}", bytes(8)),
        "the key 'a' stands twice",
    ),
    "tensor twice, once escaped": (
        file(b"{" + A + b"," + A.replace(b'"a"', rb'"\u0061"') + b"}", bytes(8)),
        "the key 'a' stands twice",
    ),
    "dtype twice": (
        file(GOOD.replace(b'"shape"', b'"dtype":"F32","shape"'), bytes(8)),
        "the key 'dtype' stands twice",
    ),
    "metadata twice": (
        file(b'{"__metadata__":{},"__metadata__":{}}'),
        "the key '__metadata__' stands twice",
    ),
    "arrays 100,000 deep": (
        file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "nested too deeply",
    ),
    "objects 100,000 deep": (
        file(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        "nested too deeply",
    ),
    "deep, closed in a string": (
        file(b'{"a":' + b"[" * 100_000 + b'"' + b"]" * 100_000 + b'"}'),
        "nested too deeply",
    ),
    "deep behind escapes": (
        file(
            rb'{"\\":'
            + b"[" * 50_000
            + rb'"\"",'
            + b"[" * 50_000
            + b"]" * 100_000
            + b"}"
        ),
        "nested too deeply",
    ),
    "millions of strings": (
        file(b'{"a":[' + b'"",' * 2_000_001 + b'""]}'),
        "more than 4000000 strings or brackets",
    ),
    "millions of arrays": (
        file(b'{"a":[' + b"[]," * 2_000_001 + b"[]]}"),
        "more than 4000000 strings or brackets",
    ),
    "entry is a list": (
        file({"a": [0, 8]}, bytes(8)),
        "tensor 'a': its entry is not exactly",
    ),
    "entry is null": (
        file({"a": None}, bytes(8)),
        "tensor 'a': its entry is not exactly",
    ),
    "entry without shape": (
        file({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
        "tensor 'a': its entry is not exactly",
    ),
    "entry with an unknown key": (
        one(strides=[1]),
        "tensor 'a': its entry is not exactly",
    ),
    "unknown dtype": (one(dtype="F33"), "tensor 'a': unknown dtype 'F33'"),
    "dtype in lower case": (one(dtype="f32"), "unknown dtype 'f32'"),
    "dtype is a list": (one(dtype=["F32"]), "unknown dtype"),
    "dtype is very long": (one(dtype=LONG), "unknown dtype 'xxx"),
    "shape is a number": (one(shape=2), "its shape '2' is not a list of sizes"),
    "negative size": (one(shape=[-2]), "is not a list of sizes"),
    "two negative sizes": (one(shape=[-1, -2]), "is not a list of sizes"),
    "size is true": (one(shape=[True, 2]), "is not a list of sizes"),
    "size is 2.0": (one(shape=[2.0]), "is not a list of sizes"),
    "size is text": (one(shape=["2"]), "is not a list of sizes"),
    "size is NaN": (file(GOOD.replace(b"[2]", b"[NaN]"), bytes(8)), "NaN is not JSON"),
    "size of 10,000 digits": (
        file(GOOD.replace(b"[2]", b"[" + b"9" * 10_000 + b"]"), bytes(8)),
        "JSON cannot be read",
    ),
    "size of 2^64": (one(shape=[2**64]), "is not a list of sizes"),
    "product overflows to 2": (one(shape=[2**63 + 1, 2]), "is not a list of sizes"),
    "product overflows to 0": (one(shape=[2**32, 2**32]), "is not a list of sizes"),
    "no elements, but 2^80 rows": (
        one(b"", shape=[2**40, 2**40, 0], end=0),
        "is not a list of sizes",
    ),
    "100 dimensions": (one(shape=[1] * 99 + [2]), "is not a list of sizes"),
    "one offset": (
        file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8]}}, bytes(8)),
        "are not two byte positions",
    ),
    "negative offset": (one(start=-8, end=0), "are not two byte positions"),
    "offset is true": (
        one(start=0, end=True, shape=[1], dtype="U8"),
        "are not two byte positions",
    ),
    "offset is 8.0": (one(end=8.0), "are not two byte positions"),
    "offset of 2^64": (one(start=2**64, end=2**64 + 8), "are not two byte positions"),
    "offsets run backwards": (
        one(start=8, end=0),
        "takes 8 bytes, its data_offsets give -8",
    ),
    "more bytes than elements": (
        one(bytes(12), end=12),
        "F32 [2] takes 8 bytes, its data_offsets give 12",
    ),
    "fewer bytes than elements": (
        one(bytes(8), shape=[200]),
        "F32 [200] takes 800 bytes, its data_offsets give 8",
    ),
    "half a byte": (
        one(bytes(2), dtype="F4", shape=[3], end=2),
        "F4 [3] takes 1.5 bytes, its data_offsets give 2",
    ),
    "same bytes twice": (two(0, 8, bytes(8)), "tensor 'b' overlaps the one before it"),
    "overlap": (two(4, 12, bytes(12)), "tensor 'b' overlaps the one before it"),
    "inside another": (
        file({"a": entry(0, 16, (4,)), "b": entry(4, 8, (1,))}, bytes(16)),
        "tensor 'b' overlaps the one before it",
    ),
    "empty tensor inside another": (
        file({"a": entry(), "b": entry(4, 4, (0,))}, bytes(8)),
        "tensor 'b' overlaps the one before it",
    ),
    "hole": (two(12, 20, bytes(20)), "tensor 'b' leaves a hole of 4 bytes before it"),
    "hole at the start": (
        one(bytes(16), start=8, end=16),
        "tensor 'a' leaves a hole of 8 bytes before it",
    ),
    "hole of 2^62 bytes": (
        two(2**62, 2**62 + 8, bytes(16)),
        "leaves a hole of 4611686018427387896 bytes",
    ),
    "truncated": (two(8, 16, bytes(11)), "truncated, 5 of"),
    "no data at all": (one(b""), "truncated, 8 of"),
    "data after the last tensor": (one(bytes(11)), "3 bytes after the last tensor"),
    "data but no tensor": (file({}, bytes(4)), "4 bytes after the last tensor"),
    "metadata is text": (
        file({"__metadata__": "pt"}),
        "__metadata__ is not a mapping of text to text",
    ),
    "metadata holds a number": (
        file({"__metadata__": {"a": 1}}),
        "__metadata__ is not a mapping of text to text",
    ),
    "metadata holds an object": (
        file({"__metadata__": {"a": {"b": "c"}}}),
        "__metadata__ is not a mapping of text to text",
    ),
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "git lfs pull",
    ),
    "web page": (b"<!DOCTYPE html><html>404</html>", "a web page"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(64), "a GGUF file"),
}

ACCEPTED = {
    "plain": (file(GOOD, bytes(8)), ["a"]),
    "padding after the JSON": (file(GOOD + b" " * 13 + b"\n\t\r", bytes(8)), ["a"]),
    "no tensors": (file({}), []),
    "metadata is null": (file({"__metadata__": None, "a": entry()}, bytes(8)), ["a"]),
    "metadata alone": (file({"__metadata__": {"format": "pt"}}), []),
    "tensor without elements": (
        file({"a": entry(), "b": entry(8, 8, (0, 5))}, bytes(8)),
        ["a", "b"],
    ),
    "tensor without elements between others": (
        file({"a": entry(), "z": entry(8, 8, (0,)), "b": entry(8, 16)}, bytes(16)),
        ["a", "z", "b"],
    ),
    "scalar": (one(bytes(4), shape=[], end=4), ["a"]),
    "not in the order of the bytes": (
        file({"b": entry(8, 16), "a": entry()}, bytes(16)),
        ["a", "b"],
    ),
    "two numbers in a byte": (one(bytes(2), dtype="F4", shape=[4], end=2), ["a"]),
    "a path as a name": (file({"../../x": entry()}, bytes(8)), ["../../x"]),
    "an absolute path as a name": (
        file({"/etc/passwd": entry()}, bytes(8)),
        ["/etc/passwd"],
    ),
    "an escaped zero byte in a name": (file({"a\0b": entry()}, bytes(8)), ["a\0b"]),
    "a right-to-left override in a name": (
        file({"a\u202eb": entry()}, bytes(8)),
        ["a\u202eb"],
    ),
    "brackets and quotes in a name": (
        file({'[[[{{"\\': entry()}, bytes(8)),
        ['[[[{{"\\'],
    ),
    "no name": (file({"": entry()}, bytes(8)), [""]),
    "a name of 10,000 letters": (file({LONG: entry()}, bytes(8)), [LONG]),
    "a name beyond the basic plane": (
        file({"\U0001f600": entry()}, bytes(8)),
        ["\U0001f600"],
    ),
}
