// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection

/// A topic that `append` has open.
protocol AppendTarget {
  /// The name of an appended record.
  associatedtype Place: PrintedPlace

  /// How many records were appended.
  var records: UInt64 { get }

  mutating func append(_ payload: UnsafeRawBufferPointer) throws -> Place
  /// Returns nil, and appends nothing, if there is no room.
  mutating func appendIfRoom(_ payload: UnsafeRawBufferPointer) throws -> Place?
  /// Waits for room. Returns nil, and appends nothing, if a stop was asked for.
  mutating func append(
    _ payload: UnsafeRawBufferPointer, waitingUntil stop: StopSignals
  ) throws -> Place?

  mutating func flush() throws
  mutating func sync() throws
  func close() throws

  /// How many of the appended records are in the topic, after the close failed.
  func storedRecords(after error: any Error) -> StoredRecords
}

/// How many appended records are stored.
struct StoredRecords {
  /// The number of records before the first one that may be missing.
  var first: UInt64
  /// Whether some later records may be stored as well.
  var hasOthers = false
}

/// A name of a record that `--print-addresses` prints.
protocol PrintedPlace: Sendable {
  func put(on output: inout Output)
}

extension Address: PrintedPlace {
  func put(on output: inout Output) { output.put(decimal: rawValue) }
}

extension ShardAddress: PrintedPlace {
  func put(on output: inout Output) {
    output.put(ShardName.string(shard))
    output.put(UInt8(ascii: " "))
    output.put(decimal: address.rawValue)
  }
}

/// An ordinary topic.
struct TopicTarget: AppendTarget {
  private let writer: QueueWriter
  private let start: Address

  /// Opens the topic, and reports its recovery.
  init(_ path: String, options: QueueWriter.Options) throws {
    do throws(QueueError) {
      writer = try QueueWriter(topic: Topic(path), options: options)
    } catch {
      guard error.code == .notATopic, try StoredShards(ifAt: path) != nil else { throw error }
      throw Failure(
        "the topic is sharded, and a key decides the shard of each record: add --key-field PATH,"
          + " the field of JSON records that is their key, or add --key KEY, one key for all"
          + " records",
        path: path)
    }
    start = writer.position
    RecoveryMessages.say(writer.recovery, position: start, path: path)
  }

  var records: UInt64 { writer.statistics.records }

  func append(_ payload: UnsafeRawBufferPointer) throws -> Address {
    try writer.append(payload).address
  }

  func appendIfRoom(_ payload: UnsafeRawBufferPointer) throws -> Address? {
    try writer.appendIfRoom(payload.bytes)?.address
  }

  func append(
    _ payload: UnsafeRawBufferPointer, waitingUntil stop: StopSignals
  ) throws -> Address? {
    let (writer, copy) = (writer, Array(payload))
    do {
      return try runTask(cancelledBy: stop) {
        try await writer.append(copy, ensuring: .buffered).address
      }
    } catch let error as QueueError where error.code == .cancelled {
      // If the task was cancelled after the append itself, the record is taken.
      return error.appended > 0 ? error.address : nil
    }
  }

  func flush() throws { try writer.flush() }
  func sync() throws { try writer.sync() }
  func close() throws { try writer.close() }

  func storedRecords(after error: any Error) -> StoredRecords {
    let statistics = writer.statistics
    let synced = StoredRecords(first: statistics.records - statistics.unsyncedRecords)
    // A full disk takes back no record that readers see. A failed sync may. After a file was
    // removed, the topic may hold another writer's records at these addresses.
    let code = (error as? QueueError)?.code
    guard code != .syncFailed, code != .fileRemoved else { return synced }
    do {
      var reader = try QueueReader(topic: writer.topic, from: .address(start))
      guard let first = try reader.nextCopy(),
        let next = try TopicInfo(of: writer.topic).nextOrdinal
      else { return synced }
      return StoredRecords(first: next - first.ordinal)
    } catch {
      // For example, they were dropped. Return the least number that is certain.
      return synced
    }
  }
}
