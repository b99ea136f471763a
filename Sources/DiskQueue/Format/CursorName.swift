// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// File names of a consumer: its name and `.cursor`, and what belongs to that file.
package enum CursorName {
  private static let suffix = ".cursor"

  package static func string(_ consumer: String) -> String { consumer + suffix }

  /// The file that its holder locks. A file of its own: whoever may read a cursor could lock that.
  package static func lock(_ consumer: String) -> String { consumer + lockSuffix }
  static let lockSuffix = ".lock"

  /// A cursor that is being made. It is never read.
  package static func unfinished(_ consumer: String) -> String { consumer + suffix + ".new" }

  /// The consumer that a file name is of, or nil where it is not the name of a cursor.
  package static func parse(_ name: String) -> String? {
    guard name.hasSuffix(suffix) else { return nil }
    let consumer = String(name.dropLast(suffix.count))
    return isValid(consumer) ? consumer : nil
  }

  /// `[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}`: no name leads out of the directory, or is hidden.
  package static func isValid(_ consumer: String) -> Bool {
    let bytes = consumer.utf8
    guard (1...64).contains(bytes.count), bytes.first != UInt8(ascii: ".") else { return false }
    return bytes.allSatisfy {
      switch $0 {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "-"):
        true
      default: false
      }
    }
  }
}

extension QueueError {
  static func invalidConsumerName(_ name: String) -> QueueError {
    // What is no name may be of any length.
    let what =
      name.utf8.count <= 64 ? "\"\(name)\"" : "one of \(ByteCount.words(UInt64(name.utf8.count)))"
    return .invalidOption(
      "a consumer's name has 1 to 64 of the characters A-Z, a-z, 0-9, '_', '-' and '.', and does not"
        + " begin with '.'; \(what) is none")
  }
}
