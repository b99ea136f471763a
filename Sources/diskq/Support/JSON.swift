// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// JSON, one object a line, with the keys in the order of the calls.

import DiskQueue

/// A JSON value that is complete before it is written.
enum JSONValue {
  case null
  case bool(Bool)
  case number(UInt64)
  /// An address or an ordinal: a number, or a string if the output's `placesAreText` is set.
  case place(UInt64)
  /// A number rounded to a millionth, or null if it is not finite.
  case decimal(Double)
  case text(String)
  case array([JSONValue])
  case object(KeyValuePairs<String, JSONValue>)

  static func number(_ value: UInt64?) -> JSONValue { value.map { .number($0) } ?? .null }
  static func place(_ value: UInt64?) -> JSONValue { value.map { .place($0) } ?? .null }
  static func place(_ value: Address?) -> JSONValue { .place(value?.rawValue) }
  static func decimal(_ value: Double?) -> JSONValue { value.map { .decimal($0) } ?? .null }
  static func text(_ value: String?) -> JSONValue { value.map { .text($0) } ?? .null }
}

extension Output {
  /// Puts one value, and ends the line.
  mutating func putLine(_ value: JSONValue) {
    put(value)
    put(UInt8(ascii: "\n"))
  }

  private mutating func put(_ value: JSONValue) {
    switch value {
    case .null: put("null")
    case .bool(let value): put(value ? "true" : "false")
    case .number(let value): put(decimal: value)
    case .place(let value): put(place: value)
    case .decimal(let value): put(value.isFinite ? "\((value * 1e6).rounded() / 1e6)" : "null")
    case .text(var value): value.withUTF8 { putJSONText(UnsafeRawBufferPointer($0)) }
    case .array(let values):
      put(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { put(UInt8(ascii: ",")) }
        put(value)
      }
      put(UInt8(ascii: "]"))
    case .object(let members):
      put(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { put(UInt8(ascii: ",")) }
        put("\"\(member.key)\":")
        put(member.value)
      }
      put(UInt8(ascii: "}"))
    }
  }

  /// Puts an address or an ordinal.
  mutating func put(place: UInt64) {
    if placesAreText { put(UInt8(ascii: "\"")) }
    put(decimal: place)
    if placesAreText { put(UInt8(ascii: "\"")) }
  }

  /// Puts a string in quotes.
  ///
  /// - Parameter text: valid UTF-8.
  mutating func putJSONText(_ text: UnsafeRawBufferPointer) {
    put(UInt8(ascii: "\""))
    var plain = 0
    for (index, byte) in text.enumerated() {
      guard Self.needsEscape(byte) else { continue }
      put(UnsafeRawBufferPointer(rebasing: text[plain..<index]))
      put(Self.escape(byte))
      plain = index + 1
    }
    put(UnsafeRawBufferPointer(rebasing: text[plain...]))
    put(UInt8(ascii: "\""))
  }

  @inline(__always)
  private static func needsEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  private static func escape(_ byte: UInt8) -> String {
    switch byte {
    case UInt8(ascii: "\""): return "\\\""
    case UInt8(ascii: "\\"): return "\\\\"
    case UInt8(ascii: "\n"): return "\\n"
    case UInt8(ascii: "\r"): return "\\r"
    case UInt8(ascii: "\t"): return "\\t"
    default: return "\\u00" + (byte < 0x10 ? "0" : "") + String(byte, radix: 16)
    }
  }

  /// Puts bytes in base64 (RFC 4648, with padding), without quotes.
  mutating func putBase64(_ bytes: UnsafeRawBufferPointer) {
    var index = 0
    while index < bytes.count {
      let left = bytes.count - index
      let group =
        UInt32(bytes[index]) << 16
        | (left > 1 ? UInt32(bytes[index + 1]) << 8 : 0)
        | (left > 2 ? UInt32(bytes[index + 2]) : 0)
      put(Self.base64Digit(group >> 18))
      put(Self.base64Digit(group >> 12))
      put(left > 1 ? Self.base64Digit(group >> 6) : UInt8(ascii: "="))
      put(left > 2 ? Self.base64Digit(group) : UInt8(ascii: "="))
      index += 3
    }
  }

  private static func base64Digit(_ group: UInt32) -> UInt8 {
    let digit = UInt8(truncatingIfNeeded: group & 63)
    return switch digit {
    case 0..<26: UInt8(ascii: "A") + digit
    case 26..<52: UInt8(ascii: "a") + (digit - 26)
    case 52..<62: UInt8(ascii: "0") + (digit - 52)
    case 62: UInt8(ascii: "+")
    default: UInt8(ascii: "/")
    }
  }
}
