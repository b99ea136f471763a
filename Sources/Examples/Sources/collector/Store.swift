// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation

/// The stored readings, each of them once, even if it arrives more often.
///
/// Each record begins with the address that the reading has at the uploader, which sends in order.
/// So the last record states how far the readings are stored. The address and the reading are one
/// record: both are written, or neither. A collector of many devices needs one address for each
/// device.
actor Store {
  private let writer: QueueWriter
  private var last: Address?

  init(topic: Topic) throws {
    // This order is necessary: opening the writer settles which records of a crash remain.
    writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic)
    if let ordinal = try reader.ordinals().last {
      let payload = try reader.record(ordinal: ordinal).copy().payload
      let address = String(decoding: payload.prefix { $0 != UInt8(ascii: ",") }, as: UTF8.self)
      last = Address(address)
      guard last != nil else { throw NoCollection(topic: topic) }
    }
  }

  /// Returns when the readings are on stable storage. Only then may the uploader acknowledge them.
  func take(_ readings: [(address: Address, payload: Data)]) async throws {
    for (address, payload) in readings {
      // It was stored before, and the uploader did not get the answer.
      if let last, address <= last { continue }
      try writer.append(Array("\(address),".utf8) + payload)
      last = address
    }
    try await writer.sync()
  }

  func close() async throws { try await writer.close() }

  struct NoCollection: Error, CustomStringConvertible {
    let topic: Topic
    var description: String { "\(topic) is a topic that no collector wrote" }
  }
}
