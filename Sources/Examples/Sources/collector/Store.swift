// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Support

/// What was taken, each reading once, though it may come more often.
///
/// Each is stored behind the address that it has at the uploader, which sends in order: so the last
/// record says what was taken, and is written with it or not at all. A collector of many devices
/// keeps an address for each.
actor Store {
  private let writer: QueueWriter
  private var last: Address?

  init(topic: Topic) throws {
    // In this order: opening the writer settles which records a crash left.
    writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic)
    if let ordinal = try reader.ordinals().last {
      let record = try reader.record(ordinal: ordinal).copy()
      last = Address(
        String(decoding: record.payload.prefix { $0 != UInt8(ascii: ",") }, as: UTF8.self))
    }
  }

  /// Returns when they are on stable storage: only then may the uploader forget them.
  func take(_ readings: [Reading]) async throws {
    for reading in readings {
      guard let address = Address(reading.address), last.map({ $0 < address }) ?? true else {
        continue
      }
      try writer.append(Array("\(address),".utf8) + reading.payload)
      last = address
    }
    try await writer.sync()
  }

  func close() async throws { try await writer.close() }
}
