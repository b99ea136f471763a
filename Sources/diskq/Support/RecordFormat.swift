// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// The format of printed records.
enum RecordFormat: String, CaseIterable, ExpressibleByArgument {
  case lines, json, hex, raw
  case lengthPrefixed = "length-prefixed"

  /// Whether control characters are escaped: on a terminal, unless the user chose a format.
  static func escapesLines(_ chosen: RecordFormat?) -> Bool {
    chosen == nil && System.isTerminal(System.standardOutput)
  }
}

extension Output {
  @inline(__always)
  mutating func put(_ record: borrowing BorrowedRecord, as format: RecordFormat) {
    put(record.payload, at: record.address, ordinal: record.ordinal, as: format)
  }

  @inline(__always)
  private mutating func put(
    _ payload: Span<UInt8>, at address: Address, ordinal: UInt64, as format: RecordFormat
  ) {
    switch format {
    case .lines:
      if escapesLines { putVisible(payload) } else { put(payload) }
      put(UInt8(ascii: "\n"))
    case .raw:
      put(payload)
    case .lengthPrefixed:
      // A payload is shorter than 4 GiB.
      let length = UInt32(truncatingIfNeeded: payload.count).littleEndian
      withUnsafeBytes(of: length) { put($0) }
      put(payload)
    case .hex:
      payload.withUnsafeBytes { putHex($0) }
      put(UInt8(ascii: "\n"))
    case .json:
      putJSON(address: address, ordinal: ordinal, payload)
    }
  }

  /// Puts a record of a sharded topic. JSON also has its shard.
  mutating func put(_ found: ShardedRecord, as format: RecordFormat) {
    let record = found.record
    guard format == .json else {
      return put(
        record.payload.span, at: record.address, ordinal: record.ordinal, as: format)
    }
    put("{\"shard\":")
    put(decimal: UInt64(found.shard))
    put(",")
    putJSONMembers(address: record.address, ordinal: record.ordinal, record.payload.span)
  }

  mutating func putHex(_ bytes: UnsafeRawBufferPointer) {
    for byte in bytes {
      put(Self.hexDigit(byte >> 4))
      put(Self.hexDigit(byte & 15))
    }
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + (value - 10)
  }

  /// Puts the record of a dead letter, as it was. JSON also has the reason and its old position.
  mutating func put(
    _ letter: DeadLetter, at address: Address, ordinal: UInt64, as format: RecordFormat
  ) {
    guard format == .json else {
      return put(letter.payload.span, at: letter.address, ordinal: letter.ordinal, as: format)
    }
    put("{\"address\":")
    put(place: address.rawValue)
    put(",\"ordinal\":")
    put(place: ordinal)
    put(",\"originalAddress\":")
    put(place: letter.address.rawValue)
    put(",\"originalOrdinal\":")
    put(place: letter.ordinal)
    put(",\"reason\":")
    var reason = letter.reason
    reason.withUTF8 { putJSONText(UnsafeRawBufferPointer($0)) }
    putJSONRest(letter.payload.span)
  }

  /// Puts one object with the keys address, ordinal and length, in this order. Then comes text if
  /// the payload is UTF-8, or else payload in base64.
  private mutating func putJSON(address: Address, ordinal: UInt64, _ payload: Span<UInt8>) {
    put("{")
    putJSONMembers(address: address, ordinal: ordinal, payload)
  }

  private mutating func putJSONMembers(
    address: Address, ordinal: UInt64, _ payload: Span<UInt8>
  ) {
    put("\"address\":")
    put(place: address.rawValue)
    put(",\"ordinal\":")
    put(place: ordinal)
    putJSONRest(payload)
  }

  /// Puts the keys of the payload, and ends the object and its line.
  private mutating func putJSONRest(_ payload: Span<UInt8>) {
    put(",\"length\":")
    put(decimal: UInt64(payload.count))
    let isText = (try? UTF8Span(validating: payload)) != nil
    if isText {
      put(",\"text\":")
      payload.withUnsafeBytes { putJSONText($0) }
      put("}\n")
    } else {
      put(",\"payload\":\"")
      payload.withUnsafeBytes { putBase64($0) }
      put("\"}\n")
    }
  }
}
