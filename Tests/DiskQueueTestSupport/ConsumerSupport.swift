// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue
import Synchronization

/// Collects the losses that are reported.
package final class Reported: Sendable {
  private let state = Mutex<[Loss]>([])
  package init() {}

  package var losses: [Loss] { state.withLock { $0 } }
  package func take(_ loss: Loss) { state.withLock { $0.append(loss) } }
  package func forget() { state.withLock { $0 = [] } }
}

/// Small topics of records whose payloads contain their ordinals.
package enum ConsumerTopic {
  package static func text(_ ordinal: Int) -> String {
    "record \(ordinal) " + String(repeating: "·", count: 20 + ordinal % 23)
  }

  package static func open(_ topic: Topic) throws -> QueueWriter {
    try QueueWriter(topic: topic, options: SmallTopic.options, environment: .simulated())
  }

  /// Appends records, then closes, or dies without a sync.
  @discardableResult
  package static func append(_ range: Range<Int>, to topic: Topic, closing: Bool = true) throws
    -> [Address]
  {
    let writer = try open(topic)
    let addresses = try range.map { try writer.append(text($0)).address }
    if closing {
      try writer.close()
    } else {
      try writer.flush()
      writer.dieForTesting()
    }
    return addresses
  }

  /// The bytes of a slab as queuefka writes them.
  package static func version1Slab(_ range: Range<Int>) -> [UInt8] {
    range.reduce(into: []) { slab, number in
      let payload = Array(text(number).utf8)
      withUnsafeBytes(of: UInt32(payload.count).littleEndian) { slab += $0 }
      withUnsafeBytes(of: xxh32(payload).littleEndian) { slab += $0 }
      slab += payload
    }
  }

  package static func memory(_ count: Int) throws -> Topic {
    let topic = Topic.memory()
    try append(0..<count, to: topic)
    return topic
  }

  package static let options = {
    var options = QueueConsumer.Options()
    options.bufferSize = .kibibytes(4)
    return options
  }()

  package static func consumer(
    _ topic: Topic, _ name: String = "reader", from start: Topic.Position = .earliest,
    options: QueueConsumer.Options = ConsumerTopic.options, reported: Reported? = nil,
    background: Environment.Background = .manual
  ) throws -> QueueConsumer {
    var onLoss: (@Sendable (Loss) -> Void)?
    if let reported { onLoss = { reported.take($0) } }
    return try QueueConsumer(
      topic: topic, name: name, from: start, options: options,
      environment: .simulated(background: background), onLoss: onLoss)
  }

  /// Reads the records up to the end in batches, without acknowledging them.
  package static func drain(_ consumer: QueueConsumer, upTo count: Int = 7) async throws
    -> [QueueRecord]
  {
    var records: [QueueRecord] = []
    for try await batch in consumer.batches(upTo: count, following: false) { records += batch }
    return records
  }

  package static func texts(_ range: Range<Int>) -> [String] { range.map(text) }
}

extension [QueueRecord] {
  package var texts: [String] { map { $0.text ?? "?" } }
}

/// The error that an asynchronous `body` throws, if it is one of the queue's.
package func queueError(_ body: () async throws -> Void) async -> QueueError? {
  do {
    try await body()
    return nil
  } catch {
    return error as? QueueError
  }
}

extension Topic {
  /// Writes a cursor's file, durably.
  package func putCursor(_ name: String, _ bytes: [UInt8]) throws {
    let storage = try openForReading()
    let directory = try storage.consumers(creating: true)
    let file = name + ".cursor"
    if try cursorFiles().contains(file) { try directory.remove(file) }
    let made = try directory.create(file)
    if !bytes.isEmpty { _ = try made.write(bytes.span.bytes, at: 0) }
    try made.sync()
    try directory.syncDirectory()
    try storage.syncDirectory()
  }

  /// The bytes of a cursor's file, as a reader sees them.
  package func cursor(_ name: String) throws -> [UInt8] {
    let directory = try openForReading().consumers(creating: false)
    let file = try directory.open(name + ".cursor", writable: false)
    let target = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Int(try file.size()), alignment: 1)
    defer { target.deallocate() }
    let count = try file.read(into: target, at: 0)
    return Array(target.prefix(count))
  }

  package func cursorSlots(_ name: String) throws -> CursorSlots.Content {
    let bytes = try cursor(name)
    return CursorSlots.read(bytes.span.bytes, of: name)
  }

  /// The names in the consumers' directory, which is made if it is missing.
  package func cursorFiles() throws -> [String] {
    var names: [String] = []
    try openForReading().consumers(creating: true).forEachName { names.append($0) }
    return names.sorted()
  }
}

/// Counts how many tasks are inside a section at a time.
package final class Occupancy: Sendable {
  private let state = Mutex((now: 0, most: 0))
  package init() {}

  package var most: Int { state.withLock { $0.most } }

  package func enter() {
    state.withLock {
      $0.now += 1
      $0.most = max($0.most, $0.now)
    }
  }

  package func leave() { state.withLock { $0.now -= 1 } }
}
