// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import CXXHash
public import DiskQueue
import Synchronization

/// A clock that moves only when a test moves it.
public final class ManualClock: Sendable {
  private let time: Mutex<UInt64>

  /// - Parameter start: nanoseconds since 1970.
  public init(_ start: UInt64 = 1_700_000_000_000_000_000) { time = Mutex(start) }

  public var now: UInt64 { time.withLock { $0 } }
  public func advance(by nanoseconds: UInt64) { time.withLock { $0 &+= nanoseconds } }
  public func set(_ nanoseconds: UInt64) { time.withLock { $0 = nanoseconds } }
}

/// An environment without random parts: a manual clock and a fixed topic id. By default the
/// appender itself syncs the slab that it leaves.
package func fixedEnvironment(
  _ clock: ManualClock = ManualClock(), topicID: UInt64 = 0x1122_3344_5566_7788,
  background: Environment.Background = .inline
) -> Environment {
  Environment(
    now: { clock.now }, monotonic: { clock.now }, randomID: { topicID }, background: background)
}

/// Everything that a reader delivers, in order.
public struct ReadResult: Sendable {
  public var records: [QueueRecord] = []
  public var losses: [Loss] = []
  public var end = Address(rawValue: 0)

  public var texts: [String] { records.map { $0.text ?? "<\($0.payload.count) bytes>" } }
}

/// Reads a topic to its current end.
public func readAll(
  _ topic: Topic, from start: Topic.Position = .earliest,
  options: QueueReader.Options = .init()
) throws -> ReadResult {
  var result = ReadResult()
  let reported = Reported()
  var reader = try QueueReader(topic: topic, from: start, options: options) { reported.take($0) }
  while let record = try reader.nextCopy() { result.records.append(record) }
  result.losses = reported.losses
  result.end = reader.position
  return result
}

/// The error that `body` throws, if it is one of the queue's.
public func queueError(_ body: () throws -> Void) -> QueueError? {
  do {
    try body()
    return nil
  } catch {
    return error as? QueueError
  }
}

/// XXH32 with seed 0, for frames of version 1.
public func xxh32(_ bytes: [UInt8]) -> UInt32 { XXH32(bytes, bytes.count, 0) }

/// XXH3-64 with seed 0.
public func xxh3(_ bytes: [UInt8]) -> UInt64 { XXH3_64bits_withSeed(bytes, bytes.count, 0) }
