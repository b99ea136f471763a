// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Harness
import Report

/// The bytes in the files for each byte of payload, without syncs.
enum Bytes {
  static func all(_ context: Context) async throws -> [Line] {
    [
      try line(payload: 20, records: 500_000, limit: 1.41, "≤ 1.41", context),
      try line(payload: 1 << 10, records: 65_536, limit: 1.01, "≤ 1.01", context),
    ]
  }

  private static func line(
    payload size: Int, records: Int, limit: Double, _ goal: String, _ context: Context
  ) throws -> Line {
    let at = PayloadSize.name(size)
    context.progress("bytes in the files, \(at)")
    let payload = makePayload(size)
    func entry(_ name: String, _ role: Entry.Role, _ directory: String) throws -> Entry {
      let ratio = Double(try bytes(directory)) / Double(records * size)
      return Entry(name: name, role: role, figure: Spread([ratio]), records: records, rounds: 1)
    }
    let floor = try context.scratch.fresh("floor")
    try Floor.write(payload, records: records, to: floor)
    var entries = [try entry("floor", .reference, floor)]
    try context.scratch.empty("floor")

    let directory = try context.scratch.fresh("diskqueue")
    let writer = try QueueWriter(topic: Topic(directory))
    try Library.append(payload, records: records, to: writer)
    let own = try entry("DiskQueue", .diskQueue, directory)
    entries.append(own)
    try writer.closeBlocking()
    try context.scratch.empty("diskqueue")

    for peer in context.peers {
      let directory = try context.scratch.fresh("peer")
      let store = try peer.open(directory)
      try store.append(payload, records: records)
      try store.close()
      entries.append(try entry(peer.name, .peer, directory))
      try context.scratch.empty("peer")
    }
    var line = Line(
      row: "bytes", path: "bytes written to files / payload bytes", at: at,
      fileSystem: context.fileSystem, unit: .bytesAByte, entries: entries)
    line.goals = [.atMost(limit, own.figure.median, goal)]
    return line
  }

  /// The size of the files, but at most the space that they occupy: a mapped file may be larger
  /// than its content.
  private static func bytes(_ directory: String) throws -> Int {
    var sum = 0
    let root = URL(fileURLWithPath: directory)
    let keys: Set<URLResourceKey> = [.isRegularFileKey, .fileSizeKey, .fileAllocatedSizeKey]
    let files = FileManager.default.enumerator(at: root, includingPropertiesForKeys: Array(keys))
    while let file = files?.nextObject() as? URL {
      let values = try file.resourceValues(forKeys: keys)
      guard values.isRegularFile == true, let size = values.fileSize else { continue }
      sum += min(size, values.fileAllocatedSize ?? size)
    }
    return sum
  }
}
