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
COPIES = 60


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
  records = [(line["address"], line.get("ordinal"), payload(line)) for line in lines]
  findings, verified = json_lines(diskq, "verify", directory, "--json")
  losses = [
    (f["from"], f["to"], f.get("records"), f["kind"]) for f in findings
    if f["kind"] in ("damaged", "discarded", "cleaned")]
  if status == 2 or verified == 2:
    return records, losses, "refused"
  summary = findings[-1]
  return records, losses, (summary["end"], summary["state"] == "closed")


def damaged_copies(golden, work):
  """Copies of a golden topic, each with a name: as it is, flipped, cut, and with a slab missing."""
  random_numbers = random.Random(golden.name)
  slabs = sorted(golden.glob("*.slab"))

  def copy(name, change=None):
    target = work / "topic"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for slab in slabs:
      shutil.copy(slab, target)
    if change:
      change(target)
    return f"{golden.name}: {name}", target

  yield copy("as it is")
  for slab in slabs:
    yield copy(f"without {slab.name}", lambda target: (target / slab.name).unlink())
  for number in range(COPIES):
    slab = random_numbers.choice(slabs)
    size = slab.stat().st_size
    offset, bit = random_numbers.randrange(size), random_numbers.randrange(8)
    # The beginning holds the header and the first mark: every second flip is there or near it.
    if number % 2:
      offset %= 160

    def flip(target):
      content = bytearray(slab.read_bytes())
      content[offset] ^= 1 << bit
      (target / slab.name).write_bytes(content)

    yield copy(f"bit {bit} of byte {offset} of {slab.name} flipped", flip)
    length = random_numbers.randrange(size)
    yield copy(
      f"{slab.name} cut to {length} bytes",
      lambda target: (target / slab.name).write_bytes(slab.read_bytes()[:length]))


def difference(ours, theirs):
  """A line that says how two results differ, or None."""
  for name, one, other in zip(("records", "losses", "ending"), ours, theirs):
    if name == "records" and len(one) == len(other):
      # If an ordinal is unknown, the library states the least that it can be (O10).
      other = [
        (theirs[0], None if ours[1] is None else theirs[1], theirs[2])
        for ours, theirs in zip(one, other)]
    if one == other:
      continue
    if isinstance(one, list):
      index = next(
        (i for i, pair in enumerate(zip(one, other)) if pair[0] != pair[1]),
        min(len(one), len(other)))
      return f"{name}, the one at index {index}: {one[index:index + 2]} and {other[index:index + 2]}"
    return f"{name}: {one} and {other}"
  return None


def main():
  if len(sys.argv) < 3:
    sys.exit("usage: compare.py DISKQ GOLDEN...")
  diskq, count, differing = sys.argv[1], 0, 0
  with tempfile.TemporaryDirectory() as work:
    for golden in map(pathlib.Path, sys.argv[2:]):
      for name, topic in damaged_copies(golden, pathlib.Path(work)):
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
