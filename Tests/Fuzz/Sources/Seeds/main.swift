// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

// Writes the first inputs of each fuzzer: Seeds <fixtures> <corpus>. For the meaning of an input's
// bytes, see each fuzzer and FuzzSupport.

let fixtures = URL(fileURLWithPath: CommandLine.arguments[1])
let corpus = URL(fileURLWithPath: CommandLine.arguments[2])

func put(_ target: String, _ name: String, _ bytes: [UInt8]) throws {
  let directory = corpus.appendingPathComponent(target)
  try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  try Data(bytes).write(to: directory.appendingPathComponent("seed-" + name))
}

func word(_ count: Int) -> [UInt8] { [UInt8(count & 0xFF), UInt8(count >> 8)] }

/// Slabs as files: each begins at the end of the one before, or in the next epoch.
func files(_ topic: String, place: UInt8, repairs: UInt8, most: Int) throws -> [UInt8] {
  let directory = fixtures.appendingPathComponent(topic)
  let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
    .filter { $0.hasSuffix(".slab") }.sorted()
  var input: [UInt8] = [0, 7, 0]
  for (index, name) in names.enumerated() {
    let bytes = try Data(contentsOf: directory.appendingPathComponent(name)).prefix(most)
    input += [index == 0 ? 0 : place, repairs] + word(bytes.count) + bytes
  }
  return input
}

// MARK: Slabs

try put("slab", "closed", try files("golden/closed", place: 0, repairs: 0, most: 6000))
try put("slab", "closed-repaired", try files("golden/closed", place: 0, repairs: 15, most: 6000))
try put("slab", "recovered", try files("golden/recovered", place: 2, repairs: 0, most: 6000))
try put(
  "slab", "recovered-repaired", try files("golden/recovered", place: 2, repairs: 15, most: 6000))

/// Programs: a slab, records, marks.
let slab: [UInt8] = [0, 0, 0]
let record: [UInt8] = [1, 20, 65]
let programs: [String: [[UInt8]]] = [
  "empty": [],
  "closed": [slab, record, record, [8]],
  "synced": [slab, record, [15, 1], [6], record, record],
  "rolled": [slab, record, slab, record, slab, record, [15, 2], [6]],
  "epochs": [slab, record, [15, 1], [0, 2, 0], record, [0, 2, 0], record, [8]],
  "damaged": [slab, record, record, record, [15, 1], [6], [11, 90, 0, 255], record],
  "damaged-mark": [slab, record, [15, 1], [6], [11, 20, 0, 255], record, [15, 1], [6]],
  "torn": [slab, record, record, [12, 5]],
  "long": [slab, record, [4, 255, 255, 1, 1], [15, 1], [6], record],
  "planted": [slab, [5, 0, 0, 0], [15, 1], [6], [11, 240, 0, 1]],
  "stale": [slab, record, record, slab, [14, 1, 80, 0, 20], record],
]
for (name, steps) in programs { try put("slab", "program-" + name, [1, 7, 0] + steps.joined()) }

// MARK: Version 1

let original = try Data(
  contentsOf: fixtures.appendingPathComponent("queuefka-seattle/00000000000000000000.slab"))
try put("version1", "torn", [7, 0, 0] + word(500) + original.prefix(500))
/// Their checksums are repaired when the fuzzer reads them.
func frames(_ count: UInt8, extra: UInt8) -> [UInt8] {
  var frames: [UInt8] = []
  for length in 0..<count {
    frames += [length + extra, 0, 0, 0, 0, 0, 0, 0]
    frames += [UInt8](repeating: length, count: Int(length))
  }
  return word(frames.count) + frames
}
try put("version1", "two", [7, 0, 1] + frames(9, extra: 0) + [1] + frames(5, extra: 0))
try put("version1", "documented", [7, 0, 3] + frames(9, extra: 4) + [3] + frames(5, extra: 4))
try put(
  "version1", "gone-on-behind",
  [7, 0, 1] + frames(9, extra: 0) + [0x80, 0, 2, 0] + record + record + [8])

// MARK: Cursors

for topic in 0..<6 as Range<UInt8> {
  // One slot of fields, two of them, none, or two slots of raw bytes. Then the holder's script.
  let slot: [UInt8] = [10, 0, 0, 0, 0, 0, 0]
  let script: [UInt8] = [5, 0, 9, 1, 2, 8, 30, 0]
  try put("cursor", "\(topic)-one", [topic, 0, 0b0011] + slot + script)
  try put("cursor", "\(topic)-both", [topic, 0, 0b1111] + slot + slot + script)
  try put("cursor", "\(topic)-none", [topic, 0, 0] + script)
  try put("cursor", "\(topic)-damaged", [topic, 0, 0b0101] + [UInt8](repeating: 7, count: 128))
}

// MARK: Arguments

let lines = [
  "--help", "--version", "help read", "append t --slab-size 64MiB --ensure synced --whole",
  "append t --flush-every 5,1KiB,200ms --sync-every never --maximum-bytes 1GiB --when-full wait",
  "append t --delimiter nul --maximum-payload 4KiB", "append t --length-prefixed",
  "read t --from ordinal:17 --limit 5 --format json --damage stop --follow",
  "read t --from 2010-02-28T23:59:59.5+01:30", "read t --from 90s --dead-letters",
  "consume t --consumer up --exec cat --retries 3 --retry-delay 5s --dead-letter",
  "consumers t --reset up --to earliest --json", "consumers t --delete up",
  "clean t u --keep-age 7d --keep-bytes 1GiB --keep-records 5 --minimum-keep-bytes 0 --dry-run",
  "clean t --keep-age 7d --protect-consumer a --protect-consumer b", "info t --json",
  "verify t --json", "repair t u", "dump t/00000000000000000000.slab",
  "--generate-completion-script",
]
for (index, line) in lines.enumerated() {
  try put("arguments", "\(index)", Array(line.replacing(" ", with: "\0").utf8))
}
