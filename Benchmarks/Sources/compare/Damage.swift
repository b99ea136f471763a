// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Harness
import Report
import Synchronization

/// Reading over an overwritten stretch of a slab.
enum Damage {
  private enum Content: CaseIterable {
    case random, text, samples, numbers

    var name: String {
      switch self {
      case .random: "random bytes"
      case .text: "text"
      case .samples: "16-bit samples"
      case .numbers: "small u32s"
      }
    }

    /// The amount of damage. The rule for reading tries every possible length, so the amount is
    /// smaller for content that looks like lengths everywhere.
    var mebibytes: Int {
      switch self {
      case .random, .text: 64
      case .samples: 16
      case .numbers: 4
      }
    }

    func bytes() -> [UInt8] {
      var random = Random(seed: 3)
      var bytes: [UInt8] = []
      let count = mebibytes << 20
      bytes.reserveCapacity(count + 16)
      let words = [
        "the", "quick", "reading", "of", "sensor", "a", "temperature", "and", "pressure", "at",
        "station", "was", "received", "late", "from", "harbour",
      ]
      var number = 0
      while bytes.count < count {
        switch self {
        case .random:
          withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) }
        case .text:
          let choice = random.next()
          bytes.append(contentsOf: words[Int(choice % UInt64(words.count))].utf8)
          bytes.append(choice >> 32 % 12 == 0 ? 0x0A : 0x20)
        case .samples:
          // A tone with some noise, like the signal of a microphone.
          let tone = sin(Double(number) / 40) * 8000 + Double(random.next() % 200)
          withUnsafeBytes(of: Int16(tone).littleEndian) { bytes.append(contentsOf: $0) }
        case .numbers:
          withUnsafeBytes(of: UInt32(random.next() % 10_000).littleEndian) {
            bytes.append(contentsOf: $0)
          }
        }
        number += 1
      }
      return Array(bytes.prefix(count))
    }
  }

  static func all(_ context: Context) async throws -> [Line] {
    var lines: [Line] = []
    for content in Content.allCases { lines.append(try await line(content, context)) }
    return lines
  }

  private static func line(_ content: Content, _ context: Context) async throws -> Line {
    let at = "\(content.mebibytes) MiB of \(content.name)"
    context.progress("resynchronising, \(at)")
    let directory = try context.scratch.fresh("diskqueue")
    let topic = Topic(directory)
    let records = (content.mebibytes + 8) << 20 / 108
    var options = QueueWriter.Options()
    options.slabSize = .mebibytes(96)
    let bytes = content.bytes()
    let hit = try append(records, to: QueueWriter(topic: topic, options: options), bytes.count)
    try overwrite(directory, with: bytes)
    let contest = try await Contest(
      [
        Contestant("DiskQueue", .diskQueue, records: bytes.count) {
          var seen = (read: 0, lost: 0)
          let time = try seconds { seen = try read(topic) }
          guard seen.lost == hit, seen.read == records - hit else {
            throw Failure("\(seen) of \(records), of which \(hit) were hit")
          }
          return time
        }
      ], rounds: context.rounds(Rounds(least: 3, seconds: 0.5)))
    try context.scratch.empty("diskqueue")
    var line = contest.line(
      row: "damage", path: "resynchronising over records of 100 B", at: at,
      fileSystem: context.fileSystem, unit: .megabytesASecond)
    if content == .random || content == .text {
      line.goals.append(.atLeast(300, line.entries[0].figure.median, "≥ 300 MB/s"))
    } else {
      line.notes.append("this line has no goal: the rule for reading bounds the figure")
    }
    return line
  }

  /// The offset at which the damage begins.
  private static let start = 4 << 20

  /// Appends the records, and returns how many of them so many bytes of damage hit. In the first
  /// slab of a topic, an address is an offset.
  private static func append(_ records: Int, to writer: QueueWriter, _ damage: Int) throws -> Int {
    let payload = makePayload(100)
    var hit = 0
    for _ in 0..<records {
      let address = Int(try writer.append(payload).address.rawValue)
      if address + 108 > start, address < start + damage { hit += 1 }
    }
    try writer.closeBlocking()
    return hit
  }

  private static func overwrite(_ directory: String, with bytes: [UInt8]) throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: directory)
    guard let slab = names.first(where: { $0.hasSuffix(".slab") }) else {
      throw Failure("there is no slab to damage")
    }
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: directory + "/" + slab))
    try file.seek(toOffset: UInt64(start))
    try file.write(contentsOf: bytes)
    try file.close()
  }

  @inline(never)
  private static func read(_ topic: Topic) throws -> (read: Int, lost: Int) {
    let lost = Atomic(0)
    var read = 0
    var reader = try QueueReader(topic: topic) { loss in
      lost.add(Int(loss.records ?? 0), ordering: .relaxed)
    }
    while try reader.next() != nil { read += 1 }
    return (read, lost.load(ordering: .relaxed))
  }
}
