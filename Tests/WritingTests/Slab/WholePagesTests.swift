// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("What a full buffer writes")
struct WholePagesTests {
  private func options(_ bufferKiB: Int64) -> QueueWriter.Options {
    var options = QueueWriter.Options()
    options.bufferSize = .kibibytes(bufferKiB)
    options.slabSize = .mebibytes(1)
    return options
  }

  /// Distinct payloads of many lengths, so that page ends cut records.
  private func payload(_ number: Int) -> [UInt8] {
    SmallTopic.payload(UInt64(number), length: 1 + number * 37 % 900)
  }

  @Test("whole pages leave a full buffer, and every record is read back", arguments: [8, 64])
  func pages(bufferKiB: Int64) throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: options(bufferKiB), environment: .simulated())
    storage.logCalls()
    for number in 0..<1500 { try writer.append(payload(number)) }
    let writes = storage.calls.compactMap { call -> (UInt64, Int)? in
      guard case .write(_, let offset, let count) = call else { return nil }
      return (UInt64(offset), count)
    }
    // Every write but one has to end with a page. The exception may be the first write, which
    // follows the slab's beginning, or the last write to a slab that is left.
    let whole = writes.filter { ($0.0 + UInt64($0.1)) % 4096 == 0 }
    #expect(writes.count > 2)
    #expect(whole.count >= writes.count - 1)
    try writer.close()
    let read = try readAll(topic)
    #expect(read.records.map(\.payload) == (0..<1500).map(payload))
    #expect(read.losses == [])
  }

  @Test("who dies within a record that the end of a page cuts loses that one alone")
  func cut() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(topic: topic, options: options(8), environment: .simulated())
    for number in 0..<100 { try writer.append(payload(number)) }
    writer.dieForTesting()
    let bytes = try #require(storage.slabs[0])
    #expect(bytes.count % 4096 == 0)
    let before = try readAll(topic)
    let next = try QueueWriter(topic: topic, options: options(8), environment: .simulated())
    try next.append("goes on")
    try next.close()
    let after = try readAll(topic)
    #expect(after.records.dropLast().map(\.payload) == before.records.map(\.payload))
    #expect(before.records.map(\.payload) == (0..<before.records.count).map(payload))
    #expect(after.losses == [])
    #expect(UInt64(bytes.count) > before.end.rawValue)
  }

  /// The bytes that a file takes on the disk, by stat(2).
  private func room(_ path: String) throws -> Int {
    var status = stat()
    #expect(stat(path, &status) == 0)
    return Int(status.st_blocks) * 512
  }

  @Test("room that was laid out ahead is given back when the slab is left, closed or let go")
  func givenBack() throws {
    let directory = try TemporaryDirectory()
    for ending in ["close", "drop"] {
      let path = directory.path + "/" + ending
      var options = QueueWriter.Options()
      options.bufferSize = .kibibytes(64)
      options.slabSize = .mebibytes(1)
      var writer: QueueWriter? = try QueueWriter(topic: Topic(path), options: options)
      for number in 0..<3500 { try writer?.append(SmallTopic.payload(UInt64(number), length: 700)) }
      if ending == "close" { try writer?.close() }
      writer = nil
      let slabs = try snapshot(path).filter { $0.key.hasSuffix(".slab") }
      #expect(slabs.count == 3)
      for (name, bytes) in slabs {
        // The 16,384 bytes are for the rest of the last page, and for the file system's own blocks.
        #expect(try room(path + "/" + name) <= bytes.count + 16_384, "\(ending): \(name)")
      }
      #expect(try readAll(Topic(path)).records.count == 3500)
    }
  }
}
