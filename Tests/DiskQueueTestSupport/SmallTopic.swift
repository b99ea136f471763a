// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue

/// A closed topic of several slabs and two epochs, and its records.
package struct SmallTopic {
  package let storage = SimulatedStorage()
  package private(set) var records: [NaiveRecord] = []

  package static let options = {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.bufferSize = .kibibytes(4)
    return options
  }()

  package static let readerOptions = {
    var options = QueueReader.Options()
    options.bufferSize = .kibibytes(4)
    return options
  }()

  package var topic: Topic { Topic(storage: storage) }

  /// Makes the topic in three steps:
  ///
  /// 1. Two slabs, then the writer is killed.
  /// 2. A slab and a half, closed.
  /// 3. Opened again, up to the next slab, closed.
  package init() throws {
    let environment = Environment.simulated()
    let first = try QueueWriter(topic: topic, options: Self.options, environment: environment)
    try append(30, to: first, syncingEvery: 9)
    try first.flush()
    first.dieForTesting()
    let second = try QueueWriter(topic: topic, options: Self.options, environment: environment)
    try append(20, to: second, syncingEvery: 7)
    try second.close()
    let third = try QueueWriter(topic: topic, options: Self.options, environment: environment)
    try append(14, to: third, syncingEvery: 5)
    try third.close()
  }

  private mutating func append(
    _ count: Int, to writer: QueueWriter, syncingEvery interval: Int
  ) throws {
    for number in 0..<count {
      let ordinal = UInt64(records.count)
      let length = number % 11 == 5 ? 0 : 30 + (records.count * 37) % 250
      let payload = Self.payload(ordinal, length: length)
      let address = try writer.append(payload).address
      records.append(NaiveRecord(address.rawValue, ordinal: ordinal, payload: payload))
      if number % interval == interval - 1 { try writer.sync() }
    }
  }

  /// A payload that no other record has, unless it is empty.
  package static func payload(_ number: UInt64, length: Int) -> [UInt8] {
    var random = SeededGenerator(seed: number)
    return (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }
}
