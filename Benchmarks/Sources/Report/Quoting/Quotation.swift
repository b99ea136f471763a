// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What a marker in a page names: a figure of the results, and how the page shows it.
///
/// Its key has fields with semicolons between. The first two name a line of the table: its path and
/// its size. The other fields come in any order, and each is optional:
///
/// | field | meaning |
/// |---|---|
/// | `LMDB` | the entry of the line, `DiskQueue` by default |
/// | `stdio / LMDB` | one entry divided by another |
/// | `also p50 µs` | a further figure of DiskQueue's entry, by its name |
/// | `ratio`, `times best peer` | that figure of the line, instead of an entry |
/// | `note costs` | the number after that word in a note of the line, instead of an entry |
/// | `on tmpfs` | the file system, by default the one that the run wrote to |
/// | `in µs` | the unit, by default the line's |
/// | `2 digits` | how many significant digits, by default as the tables show it |
///
/// The key `run; date` names a fact about the run.
package struct Quotation: Equatable {
  package enum Value: Equatable {
    case median(of: String)
    case quotient(of: String, by: String)
    case also(String)
    case ratio
    case timesBestPeer
    case note(after: String)
  }

  package var path: String
  package var at: String
  package var value = Value.median(of: "DiskQueue")
  package var fileSystem: String?
  package var unit: String?
  package var digits: Int?

  /// - Throws: `QuotationError` if the key names less than a line, or one thing twice.
  package init(_ key: String) throws {
    let fields = key.split(separator: ";").map { $0.trimmingPrefix { $0 == " " } }
    guard fields.count > 1, fields.allSatisfy({ !$0.isEmpty }) else {
      throw QuotationError("a key begins with a path and a size, with a semicolon between")
    }
    path = String(fields[0])
    at = String(fields[1])
    var value: Value?
    for field in fields.dropFirst(2) {
      let words = field.split(separator: " ", maxSplits: 1).map(String.init)
      switch (words.first, words.last) {
      case ("on", let name?): try Self.set(&fileSystem, to: name, by: field)
      case ("in", let name?): try Self.set(&unit, to: name, by: field)
      case (let count?, "digit"), (let count?, "digits"):
        guard let count = Int(count), 1...9 ~= count else {
          throw QuotationError("\(field): the digits are 1 to 9")
        }
        try Self.set(&digits, to: count, by: field)
      case ("note", let word?): try Self.set(&value, to: .note(after: word), by: field)
      case ("also", let name?): try Self.set(&value, to: .also(name), by: field)
      case _ where field == "ratio": try Self.set(&value, to: .ratio, by: field)
      case _ where field == "times best peer":
        try Self.set(&value, to: .timesBestPeer, by: field)
      default:
        let entries = field.split(separator: " / ").map(String.init)
        let named: Value =
          entries.count == 2
          ? .quotient(of: entries[0], by: entries[1]) : .median(of: String(field))
        try Self.set(&value, to: named, by: field)
      }
    }
    if let value { self.value = value }
  }

  private static func set<T>(_ field: inout T?, to value: T, by text: Substring) throws {
    guard field == nil else { throw QuotationError("\(text): another field says otherwise") }
    field = value
  }
}

/// Why a quotation has no figure.
package struct QuotationError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

extension Quotation {
  private static let nanoseconds: [String: Double] = [
    "ns/record": 1, "ns": 1, "µs": 1e3, "ms": 1e6,
  ]

  /// A figure in another unit, or nil if these units do not measure the same.
  package static func convert(_ figure: Double, from unit: String, to other: String) -> Double? {
    switch (unit, other) {
    case _ where unit == other: figure
    case ("records/s", "million records/s"): figure / 1e6
    case (_, "records/s"): nanoseconds[unit].map { 1e9 / (figure * $0) }
    default:
      nanoseconds[unit].flatMap { own in nanoseconds[other].map { figure * own / $0 } }
    }
  }
}
