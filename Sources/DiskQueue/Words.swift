// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The parts of the texts that values print.
package enum Words {
  /// A number and its noun: "1 record", "20 records".
  package static func count(_ count: UInt64, _ noun: String) -> String {
    count == 1 ? "1 \(noun)" : "\(count) \(noun)s"
  }

  /// A number of records that may be unknown.
  package static func records(_ records: UInt64?) -> String {
    records.map { count($0, "record") } ?? "an unknown number of records"
  }

  /// A batch of records, by its first one.
  static func batch(_ count: Int, ordinal: UInt64, address: Address) -> String {
    "\(Words.count(UInt64(count), "record")), from record \(ordinal) at address \(address) on"
  }

  /// Longer payloads are not worth a line.
  private static let longestText = 200

  /// A payload as a text in quotation marks, if it is a short line of valid UTF-8. Otherwise its
  /// size.
  static func payload(_ payload: [UInt8]) -> String {
    guard payload.count <= longestText, let text = String(validating: payload, as: UTF8.self),
      text.unicodeScalars.allSatisfy({ !isControl($0) })
    else { return count(UInt64(payload.count), "byte") }
    return "\"\(text)\""
  }

  /// Whether a scalar could change the terminal or the line: controls, separators of lines, and
  /// invisible marks of direction.
  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}
