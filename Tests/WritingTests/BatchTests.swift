// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("A batch")
struct BatchTests {
  /// Every topic gets the same clock and the same id, so equal records give equal bytes.
  private static let environment = Environment(
    now: { 1_700_000_000_000_000_000 }, randomID: { 0x1234_5678_9ABC_DEF0 }, background: .inline)

  private static var small: QueueWriter.Options {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(64)
    options.bufferSize = .kibibytes(4)
    options.maximumPayload = .kibibytes(128)
    return options
  }

  /// Payloads that are empty, short, as long as the buffer, longer than the mark spacing, and
  /// longer than a slab.
  private static let payloads: [[UInt8]] = (0..<3_000).map { number in
    let count =
      switch number {
      case 700: 4_088
      case 1_500: 70_000
      default: number % 40
      }
    return (0..<count).map { UInt8(truncatingIfNeeded: number &+ $0) }
  }

  private func write(
    to path: String, _ body: (QueueWriter) throws -> Void
  ) throws -> [String: Data] {
    let writer = try QueueWriter(
      topic: Topic(path), options: Self.small, environment: Self.environment)
    try body(writer)
    try writer.close()
    var files: [String: Data] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: path)
    where name.hasSuffix(".slab") {
      files[name] = FileManager.default.contents(atPath: path + "/" + name)
    }
    return files
  }

  @Test("writes the same bytes and returns the same addresses as its records one by one")
  func sameAsSingle() throws {
    let directory = try TemporaryDirectory()
    var addresses: [Address] = []
    let single = try write(to: directory.path + "/single") { writer in
      for payload in Self.payloads { addresses.append(try writer.append(payload).address) }
    }
    #expect(single.count > 2)

    // Arrays have a code path of their own. Lazy collections take the general one.
    let arrays = try write(to: directory.path + "/arrays") { writer in
      var index = 0
      while index < Self.payloads.count {
        let batch = Array(Self.payloads[index..<min(index + 97, Self.payloads.count)])
        let range = try writer.append(contentsOf: batch).addresses
        #expect(range.lowerBound == addresses[index])
        #expect(range.upperBound == writer.position)
        index += batch.count
      }
    }
    #expect(arrays == single)
    let whole = try write(to: directory.path + "/whole") { writer in
      let range = try writer.append(contentsOf: Self.payloads).addresses
      #expect(range.lowerBound == addresses[0])
      #expect(range.upperBound == writer.position)
    }
    #expect(whole == single)
    let general = try write(to: directory.path + "/general") { writer in
      let range = try writer.append(contentsOf: Self.payloads.lazy.map { $0[...] }).addresses
      #expect(range.lowerBound == addresses[0])
    }
    #expect(general == single)
  }

  @Test("of nothing has the empty range at the position")
  func empty() throws {
    let writer = try QueueWriter(topic: .memory())
    let nothing: [[UInt8]] = []
    let range = try writer.append(contentsOf: nothing).addresses
    #expect(range == writer.position..<writer.position)
    try writer.close()
  }

  @Test("that fails says how many of its records landed")
  func appended() throws {
    let topic = Topic.memory()
    var options = QueueWriter.Options()
    options.maximumPayload = .bytes(10)
    let writer = try QueueWriter(topic: topic, options: options)
    let batch: [[UInt8]] = [[1], [2, 2], [UInt8](repeating: 3, count: 11), [4]]
    let error = #expect(throws: QueueError.self) { try writer.append(contentsOf: batch) }
    #expect(error?.code == .payloadTooLarge)
    #expect(error?.appended == 2)
    try writer.close()

    var reader = try QueueReader(topic: topic)
    var found: [[UInt8]] = []
    while let record = try reader.nextCopy() { found.append(record.payload) }
    #expect(found == [[1], [2, 2]])
  }
}
