#!/usr/bin/env python3
"""Verifies a copy of a Quietus log with nothing but Python's standard library.

Usage: verify_log.py DIR VERIFIER_KEY

It is written from the specifications and shares no code with Quietus: RFC 6962 (the tree), RFC 8032 (Ed25519),
RFC 8785 (canonical JSON), and C2SP's signed-note, tlog-checkpoint and tlog-tiles. Every problem is printed on a line of
its own. It exits with 0 if there is none, and with 1 otherwise.
"""

import base64
import hashlib
import json
import os
import re
import sys

WIDTH, problems = 256, []


def problem(place, text):
    problems.append(f"{place}: {text}")


# Ed25519, RFC 8032 section 5.1 and appendix A.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT % P
    if (x * x - square) % P != 0 or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, p):
    q = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            q = add(q, p)
        p, scalar = add(p, p), scalar >> 1
    return q


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verifies(key, message, signature):
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = point(key), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(h, a))
    return all((left[n] * right[2] - right[n] * left[2]) % P == 0 for n in (0, 1))


# Signed notes and checkpoints.


class Key:
    def __init__(self, text):
        self.name, id_hex, encoded = text.strip().split("+", 2)
        data = base64.b64decode(encoded, validate=True)
        self.id, self.key = bytes.fromhex(id_hex), data[1:]
        if data[0] != 1 or len(self.key) != 32 or sha256(self.name.encode(), b"\n", data)[:4] != self.id:
            raise ValueError("not the verifier key of a log")


def read_checkpoint(place, note, key):
    """The size and the root of a checkpoint that the key signed in the log's name."""
    try:
        text, signatures = note.decode().rsplit("\n\n", 1)
        lines = text.split("\n")
        origin, size, root = lines[0], int(lines[1]), strict_base64(lines[2])
        signed = False
        for line in signatures[:-1].split("\n"):
            dash, name, encoded = line.split(" ")
            data = strict_base64(encoded)
            if dash != "—" or not signatures.endswith("\n"):
                raise ValueError("not a signature line")
            if (name, data[:4]) == (key.name, key.id):
                if not ed25519_verifies(key.key, text.encode() + b"\n", data[4:]):
                    raise ValueError("the signature is false")
                signed = True
        if not signed or origin != key.name or str(size) != lines[1] or len(root) != 32:
            raise ValueError("not signed by the log, or not a checkpoint of it")
        return size, root
    except (ValueError, IndexError) as error:
        problem(place, error)
        return None


def strict_base64(text):
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not the one spelling in base64")
    return data


# The tree.


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def tree_root(hashes):
    """MTH of RFC 6962 section 2.1, row by row: the last of an odd row goes up as it is."""
    if not hashes:
        return sha256()
    row = list(hashes)
    while len(row) > 1:
        above = [sha256(b"\1", row[n], row[n + 1]) for n in range(0, len(row) - 1, 2)]
        row = above + row[len(above) * 2 :]
    return row[0]


def tile_path(level, index, width):
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[n : n + 3] for n in range(0, len(digits), 3)]
    name = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{name}" + ("" if width == WIDTH else f".p/{width}")


# Entries.


def no_float(text):
    raise ValueError(f"{text} is not a whole number")


def no_twins(pairs):
    if len(dict(pairs)) == len(pairs):
        return dict(pairs)
    raise ValueError("a member is there twice")


def canonical(value):
    """RFC 8785: members in the order of their UTF-16 code units; Python spells strings and whole numbers alike."""

    def order(value):
        if isinstance(value, dict):
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return {name: order(value[name]) for name in names}
        return [order(item) for item in value] if isinstance(value, list) else value

    return json.dumps(order(value), ensure_ascii=False, separators=(",", ":")).encode()


def read_entry(data, seq):
    try:
        sealed = json.loads(data.decode(), object_pairs_hook=no_twins, parse_float=no_float, parse_constant=no_float)
        if canonical(sealed) != data:
            raise ValueError("not in canonical form")
        if sealed["seq"] != seq or set(sealed) != {"entry", "seq"}:
            raise ValueError(f"says that it is entry {sealed['seq']}")
        return sealed["entry"]
    except (ValueError, KeyError, TypeError) as error:
        problem(f"entry {seq}", error)
        return None


def split_bundle(path, data, width):
    if data is None:
        return None
    entries, at = [], 0
    for _ in range(width):
        length = int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    if at == len(data):
        return entries
    return problem(path, "does not hold as many entries as its name says")


# The copy.


class Copy:
    def __init__(self, root):
        self.root, self.used = root, set()

    def read(self, path):
        self.used.add(path)
        try:
            with open(os.path.join(self.root, path), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def paths(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.root)


def verify_entries(copy, size):
    """Every entry; gives back all leaf hashes."""
    leaves, missing, pruned = [], [], 0
    for start in range(0, size, WIDTH):
        width = min(WIDTH, size - start)
        path = tile_path("entries", start // WIDTH, width)
        stored = copy.read(tile_path(0, start // WIDTH, width)) or b""
        data = copy.read(path)
        entries = split_bundle(path, data, width)
        if entries is None:
            leaves += [stored[n : n + 32] for n in range(0, width * 32, 32)]
            missing += [(start + 1, start + width)] if data is None else []
            continue
        for seq, entry in enumerate(entries, start + 1):
            leaves.append(sha256(b"\0", entry))
            content = read_entry(entry, seq)
            if content is not None:
                pruned = max(pruned, verify_references(copy, content, seq))
    for first, last in missing:
        if last > pruned:
            problem(f"entries {first} to {last}", "missing, and no entry announces it")
    return leaves


def verify_references(copy, entry, seq):
    """What an entry refers to; gives back how far it announces a pruning."""
    for name, attached in entry.get("attached", {}).items():
        data = copy.read(f"attachments/{attached['sha256']}")
        if data is None or hashlib.sha256(data).hexdigest() != attached["sha256"] or len(data) != attached["bytes"]:
            problem(f"entry {seq}", f"the attached {name} are missing or others")
    if "policy" in entry:
        data = copy.read(f"policies/{entry['policy']}")
        if data is None:
            problem(f"entry {seq}", "its policy set is missing")
        elif entry["event"] == "policy.loaded" and hashlib.sha256(data).hexdigest() != entry["detail"].get("archive"):
            problem(f"entry {seq}", "its policy set is another")
    through = entry.get("detail", {}).get("through", "0") if entry["event"] == "ledger.pruned" else "0"
    return int(through)


def verify_tiles(copy, leaves):
    row, level = leaves, 0
    while row:
        for start in range(0, len(row), WIDTH):
            hashes = row[start : start + WIDTH]
            path = tile_path(level, start // WIDTH, len(hashes))
            if copy.read(path) != b"".join(hashes):
                problem(path, "missing, or does not follow from what is below it")
        full = len(row) // WIDTH * WIDTH
        row = [tree_root(row[start : start + WIDTH]) for start in range(0, full, WIDTH)]
        level += 1


def verify_log(root, key):
    copy = Copy(root)
    newest = read_checkpoint("checkpoint", copy.read("checkpoint") or b"", key)
    if newest is None:
        return
    leaves = verify_entries(copy, newest[0])
    verify_tiles(copy, leaves)
    for path in sorted(copy.paths()):
        if path == "checkpoint" or path.startswith("checkpoints/"):
            head = read_checkpoint(path, copy.read(path), key)
            if head and (head[0] > len(leaves) or tree_root(leaves[: head[0]]) != head[1]):
                problem(path, "the log signed another tree than this one")
            if head and path not in ("checkpoint", f"checkpoints/{head[0]}"):
                problem(path, f"a checkpoint of {head[0]} entries")
        elif path.startswith("tile/") and path not in copy.used:
            problem(path, "the newest checkpoint does not cover it")
        elif re.fullmatch("attachments/[0-9a-f]{64}", path) and path not in copy.used:
            if hashlib.sha256(copy.read(path)).hexdigest() != path[-64:]:
                problem(path, "its digest is not its name")
    print(f"{newest[0]} entries, root {newest[1].hex()}")


if __name__ == "__main__":
    verify_log(sys.argv[1], Key(sys.argv[2]))
    print("\n".join(problems) or "everything holds")
    sys.exit(1 if problems else 0)
