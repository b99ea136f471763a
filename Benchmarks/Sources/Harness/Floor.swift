// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import CFloor

/// The C program that does the least any queue must do.
package enum Floor {
  package static func write(_ payload: [UInt8], records: Int, to directory: String) throws {
    let error = cfloor_write(directory, payload, payload.count, UInt64(records))
    guard error == 0 else { throw Failure("the floor's writing failed with errno \(error)") }
  }

  package static func read(from directory: String, expecting bytes: Int) throws {
    let seen = cfloor_read(directory)
    guard seen == bytes else { throw Failure("the floor read \(seen) of \(bytes) bytes") }
  }

  /// Appends and syncs records one by one. Returns the time of each append, in nanoseconds.
  package static func writeSynced(
    _ payload: [UInt8], records: Int, to directory: String
  ) throws -> [UInt64] {
    var times = [UInt64](repeating: 0, count: records)
    let error = cfloor_write_synced(
      directory, payload, payload.count, UInt64(records), &times)
    guard error == 0 else { throw Failure("the floor's syncing failed with errno \(error)") }
    return times
  }

  /// Reads single records. For each, it reads the stretch of `stretch` records that contains it, up
  /// to the record.
  package static func read(
    _ records: [UInt64], payloadBytes: Int, stretch: Int, from directory: String
  ) throws {
    let seen = cfloor_read_at(
      directory, payloadBytes, UInt64(stretch), records, UInt64(records.count))
    guard seen == records.count * payloadBytes else {
      throw Failure("the floor did not read its own records")
    }
  }

  /// Puts the floor's files on the disk, and drops them from the system's cache.
  package static func drop(_ directory: String) throws {
    let error = cfloor_drop(directory)
    guard error == 0 else { throw Failure("dropping cached pages failed with errno \(error)") }
  }

  /// Frames in memory, which live as long as this object.
  package final class Memory {
    private let log: OpaquePointer

    package init() throws {
      guard let log = cfloor_memory_make() else { throw Failure("no memory for the floor") }
      self.log = log
    }

    deinit { cfloor_memory_free(log) }

    package func write(_ payload: [UInt8], records: Int) throws {
      let error = cfloor_memory_write(log, payload, payload.count, UInt64(records))
      guard error == 0 else { throw Failure("the floor's writing failed with errno \(error)") }
    }

    package func read(expecting bytes: Int) throws {
      let seen = cfloor_memory_read(log)
      guard seen == bytes else { throw Failure("the floor read \(seen) of \(bytes) bytes") }
    }
  }

  /// The version of libxxhash, which both contestants call, such as "0.8.1".
  package static var hashVersion: String {
    let version = cfloor_xxhash_version()
    return "\(version / 10000).\(version / 100 % 100).\(version % 100)"
  }
}
