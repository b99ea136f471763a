// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation

/// A record on its way from the uploader to the collector, as JSON.
public struct Reading: Codable, Sendable {
  /// The record's permanent address, by which the collector recognizes records that it has stored.
  /// It is text, because an address needs 64 bits, and numbers in JSON have 53 bits in many
  /// languages.
  public let address: String
  /// The record's bytes. In JSON they are base64, because a record may hold any bytes.
  public let payload: Data

  /// Makes a reading of a record.
  public init(_ record: QueueRecord) {
    address = record.address.description
    payload = Data(record.payload)
  }
}
