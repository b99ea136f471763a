#!/usr/bin/env python3
# This source file is part of the DiskQueue project.
# SPDX-License-Identifier: Apache-2.0
"""Check that the page FileFormat.md is enough to read a topic as the library reads it.

Usage: compare.py DISKQ GOLDEN...

read_topic.py, beside this file, was written from the page alone. This program damages copies of
the golden topics in many ways, and reads each copy with read_topic.py and with the command line.
Records, addresses, ordinals, losses, the end and the state must be the same. It prints the first
differences and exits 1 if there are any.
"""

import base64
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import read_topic

# Damaged copies of each kind for each golden topic. All of them take less than a minute.
COPIES = 20
MOST_APPENDED_BYTES = 300
# The beginning holds the header and the first mark: every second flip is there or near it.
BEGINNING = 160

EPOCH = 1 << 40
# Each damage is a kind, the base of a slab, and numbers.
FIXED = {
  "recovered": [
    # O9: the search ends at the cut, and the goal ordinal belongs to the next epoch.
    [("flip", 0, 140, 0), ("cut", 0, 288)],
    [("flip", 0, 140, 0), ("remove", EPOCH)],
    # X11: a record comes back and is counted, and then reported as discarded.
    [("append hex", 0, "08 00 00 00 86 b7 8e e7 75 6e 73 79 6e 63 65 64"), ("zero", EPOCH, 0, 128)],
    [("zero", EPOCH, 0, 128), ("zero", 2 * EPOCH, 0, 128)],
  ],
  "closed": [
    # O9: no mark follows in the slab, and the goal ordinal belongs to the slab after the next.
    [("flip", 0, 3726, 0), ("remove", 4094)],
    [("flip", 0, 3726, 0), ("cut", 0, 4076)],
    [("remove", 0), ("flip", 4094, 10, 0)],
    [("remove", 0), ("zero", 4094, 0, 128)],
    [("zero", 0, 128, 3966), ("remove", 4094)],
  ],
  # Q6, Q7, Q8.
  "queuefka-seattle": [
    [("flip", 65540, 20000, 0)],
    [("flip", 196620, 30000, 0)],
    [("remove", 65540), ("flip", 196620, 8, 0)],
  ],
}


def outside(directory):
  """What the reader of this folder sees: records, losses and the ending."""
  lines = []
  read_topic.read_topic(str(directory), lines.append)
  records = [
    (r["address"], r["ordinal"], r["payload"]) for r in (l.get("record") for l in lines) if r]
  losses = [
    (l["from"], l["to"], l["records"], l["cause"]) for l in (l.get("loss") for l in lines) if l]
  last = lines[-1]
  ending = "refused" if "refused" in last else (last["end"], last["clean"])
  return records, losses, ending


def payload(record):
  if "text" in record:
    return record["text"].encode().hex()
  return base64.b64decode(record["payload"]).hex()


def json_lines(diskq, *arguments):
  """The JSON that a command prints, and its exit status."""
  result = subprocess.run(
    [diskq, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  if result.returncode not in (0, 1, 2):
    sys.exit(f"{arguments} ended with {result.returncode}: {result.stderr.decode()}")
  return [json.loads(line) for line in result.stdout.splitlines()], result.returncode


def library(diskq, directory):
  """What the library sees of the same."""
  lines, status = json_lines(diskq, "read", directory, "--format", "json")
  records = [(line["address"], line["ordinal"], payload(line)) for line in lines]
  findings, verified = json_lines(diskq, "verify", directory, "--json")
  losses = [
    (f["from"], f["to"], f.get("records"), f["kind"]) for f in findings
    if f["kind"] in ("damaged", "discarded", "cleaned")]
  if status == 2 or verified == 2:
    return records, losses, "refused"
  summary = findings[-1]
  return records, losses, (summary["end"], summary["state"] == "closed")


def described(damage):
  """A damage in words."""
  kind, base, *numbers = damage
  return f"slab {base}: {kind} {' '.join(map(str, numbers))}".rstrip()


def change(slabs, damage):
  """Damages one of the slabs, a dictionary of the bytes by base."""
  kind, base, *numbers = damage
  if kind == "remove":
    del slabs[base]
    return
  content = slabs[base]
  if kind == "flip":
    offset, bit = numbers
    # Another damage may have cut the byte off.
    if offset < len(content):
      content[offset] ^= 1 << bit
  elif kind == "cut":
    del content[numbers[0]:]
  elif kind == "zero":
    offset, count = numbers
    content[offset:offset + count] = bytes(count)
  elif kind == "append zeros":
    content += bytes(numbers[0])
  elif kind == "append hex":
    content += bytes.fromhex(numbers[0])
  elif kind == "append bytes":
    count, seed = numbers
    content += random.Random(seed).randbytes(count)
  else:
    sys.exit(f"no such damage: {kind}")


def damages(name, sizes):
  """Lists of damages to one topic: none, a slab missing, the fixed ones, and random ones."""
  numbers = random.Random(name)
  bases = sorted(sizes)
  yield []
  for base in bases:
    yield [("remove", base)]
  yield from FIXED.get(name, [])

  def flip(base, near_beginning):
    offset = numbers.randrange(sizes[base])
    return "flip", base, offset % BEGINNING if near_beginning else offset, numbers.randrange(8)

  def cut(base):
    return "cut", base, numbers.randrange(sizes[base])

  for number in range(COPIES):
    near_beginning = number % 2 == 1
    base, other = numbers.choice(bases), numbers.choice(bases)
    if base == other and number % 4 < 2:
      other = bases[bases.index(base) - 1]
    yield [flip(base, near_beginning)]
    yield [cut(base)]
    yield [flip(base, near_beginning), flip(other, False)]
    yield [flip(base, near_beginning), cut(other)]
    if other != base:
      yield [flip(base, near_beginning), ("remove", other)]
    count = numbers.randrange(1, MOST_APPENDED_BYTES)
    yield [("append zeros", base, count), flip(other, near_beginning)]
    yield [("append bytes", base, count, number)]
    yield [("append bytes", base, count, number), flip(other, near_beginning)]


def copies(golden, work):
  """Damaged copies of a golden topic, each with its name."""
  intact = {int(slab.stem): slab.read_bytes() for slab in golden.glob("*.slab")}
  sizes = {base: len(content) for base, content in intact.items()}
  for listed in damages(golden.name, sizes):
    slabs = {base: bytearray(content) for base, content in intact.items()}
    for damage in listed:
      change(slabs, damage)
    target = work / "topic"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for base, content in slabs.items():
      (target / f"{base:020}.slab").write_bytes(content)
    yield f"{golden.name}, {' and '.join(map(described, listed)) or 'as it is'}", target


def difference(ours, theirs):
  """A line that says how two results differ, or None."""
  for name, one, other in zip(("records", "losses", "ending"), ours, theirs):
    if one == other:
      continue
    if isinstance(one, list):
      index = next(
        (i for i, pair in enumerate(zip(one, other)) if pair[0] != pair[1]),
        min(len(one), len(other)))
      pair = one[index:index + 2], other[index:index + 2]
      return f"{name}, the one at index {index}: {pair[0]} and {pair[1]}"
    return f"{name}: {one} and {other}"
  return None


def main():
  if len(sys.argv) < 3:
    sys.exit("usage: compare.py DISKQ GOLDEN...")
  diskq, count, differing = sys.argv[1], 0, 0
  with tempfile.TemporaryDirectory() as work:
    for golden in map(pathlib.Path, sys.argv[2:]):
      for name, topic in copies(golden, pathlib.Path(work)):
        count += 1
        found = difference(outside(topic), library(diskq, topic))
        if found:
          differing += 1
          if differing <= 10:
            print(f"{name}: the page's reader and the library differ in {found}")
  print(f"{count} topics, {differing} of them read differently by the page and by the library")
  sys.exit(1 if differing else 0)


if __name__ == "__main__":
  main()
