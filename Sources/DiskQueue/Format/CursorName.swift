// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// File names of a consumer: its name and `.cursor`, and the files that belong to that one.
package enum CursorName {
  private static let suffix = ".cursor"

  package static func string(_ consumer: String) -> String { consumer + suffix }

  /// The file that the consumer's holder locks. It is not the cursor's file, because any program
  /// that may read that one can lock it (C23).
  package static func lock(_ consumer: String) -> String { consumer + lockSuffix }
  static let lockSuffix = ".lock"

  /// A cursor that is being made. No program reads it.
  package static func unfinished(_ consumer: String) -> String { consumer + suffix + ".new" }

  /// The consumer that a file name belongs to. Nil if it is not the name of a cursor.
  package static func parse(_ name: String) -> String? {
    guard name.hasSuffix(suffix) else { return nil }
    let consumer = String(name.dropLast(suffix.count))
    return isValid(consumer) ? consumer : nil
  }

  /// `[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}` (C4). So no name leads out of the directory, and none is
  /// hidden.
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
    // Text that is not a name may have any length.
    let what =
      name.utf8.count <= 64 ? "\"\(name)\"" : "one of \(ByteCount.words(UInt64(name.utf8.count)))"
    return .invalidOption(
      "a consumer's name has 1 to 64 of the characters A-Z, a-z, 0-9, '_', '-' and '.', and does"
        + " not begin with '.': \(what) is not one")
  }
}
