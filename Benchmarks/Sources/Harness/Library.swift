// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue
import Foundation

/// The code that a user of the library would write.
///
/// The functions are not inlined, so that no part of them is hoisted into the harness. Generic
/// entries are specialised here, as in any program.
package enum Library {
  @inline(never)
  package static func append(_ payload: [UInt8], records: Int, to writer: QueueWriter) throws {
    for _ in 0..<records { try writer.append(payload) }
    try writer.flush()
  }

  @inline(never)
  package static func appendBatches(of batch: [[UInt8]], records: Int, to writer: QueueWriter)
    throws
  {
    for _ in 0..<records / batch.count { try writer.append(contentsOf: batch) }
    try writer.flush()
  }

  @inline(never)
  package static func appendSynced(_ payload: [UInt8], records: Int, to writer: QueueWriter) throws
  {
    for _ in 0..<records {
      try writer.append(payload)
      try writer.sync()
    }
  }

  /// Appends from threads that share one writer, like the requests of a server. They start
  /// together, because a thread that ends before the next one starts does not contend with it.
  @inline(never)
  package static func append(
    _ payload: [UInt8], records: Int, threads: Int, to writer: QueueWriter
  ) throws {
    try onThreads(threads) {
      for _ in 0..<records / threads { try writer.append(payload) }
    }
    try writer.flush()
  }

  /// Each thread reads the whole topic with its own reader, and expects so many bytes.
  @inline(never)
  package static func read(_ topic: Topic, threads: Int, expecting bytes: Int) throws {
    try onThreads(threads) {
      var reader = try QueueReader(topic: topic)
      let seen = try read(&reader)
      guard seen == bytes else { throw Failure("\(seen) of \(bytes) bytes were read") }
    }
  }

  private static func onThreads(
    _ threads: Int, _ body: @escaping @Sendable () throws -> Void
  ) throws {
    let group = DispatchGroup()
    let failures = Failures()
    let ready = DispatchSemaphore(value: 0)
    let start = DispatchSemaphore(value: 0)
    for _ in 0..<threads {
      group.enter()
      let thread = Thread {
        ready.signal()
        start.wait()
        failures.catching(body)
        group.leave()
      }
      thread.start()
    }
    for _ in 0..<threads { ready.wait() }
    for _ in 0..<threads { start.signal() }
    group.wait()
    try failures.throwFirst()
  }

  @inline(never)
  package static func read(_ reader: inout QueueReader) throws -> Int {
    var bytes = 0
    while let record = try reader.next() { bytes += record.payload.count }
    return bytes
  }

  @inline(never)
  package static func readBatches(_ reader: inout QueueReader) throws -> Int {
    var bytes = 0
    while let batch = try reader.nextBatch() {
      for index in batch.indices { bytes += batch.borrowed(at: index).payload.count }
    }
    return bytes
  }

  @inline(never)
  package static func readCopies(_ reader: inout QueueReader) throws -> Int {
    var bytes = 0
    while let record = try reader.nextCopy() { bytes += record.payload.count }
    return bytes
  }

  @inline(never)
  package static func lookUp(_ addresses: [Address], _ reader: inout QueueReader) throws -> Int {
    var bytes = 0
    for address in addresses { bytes += try reader.record(at: address).payload.count }
    return bytes
  }
}

/// The errors of other threads.
package final class Failures: @unchecked Sendable {
  private let lock = NSLock()
  // Guarded by the lock.
  private var errors: [any Error] = []

  package init() {}

  package func catching(_ body: () throws -> Void) {
    do {
      try body()
    } catch {
      lock.withLock { errors.append(error) }
    }
  }

  package func throwFirst() throws {
    if let error = lock.withLock({ errors.first }) { throw error }
  }
}
