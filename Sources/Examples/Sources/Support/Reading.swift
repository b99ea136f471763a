// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation

/// A record on its way from the uploader to the collector, as JSON.
public struct Reading: Codable, Sendable {
  /// Names the record for ever: by it the collector knows what it has taken. As text, because
  /// addresses need 64 bits, and numbers in JSON have 53 in many languages.
  public let address: String
  /// As base64: a record may hold any bytes.
  public let payload: Data

  public init(_ record: QueueRecord) {
    address = record.address.description
    payload = Data(record.payload)
  }
}
