// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The promises of the queue, by their names in the Guarantees article.
enum Promise: String, CaseIterable {
  case g1 = "G1"
  case g2 = "G2"
  case g3 = "G3"
  case g4 = "G4"
  case g5 = "G5"
  case g6 = "G6"
  case g7 = "G7"
  case g9 = "G9"
  case g10 = "G10"
  case g11 = "G11"
  case g12 = "G12"

  /// The name under which its checks are counted.
  var checked: String { "checked \(rawValue)" }
}

/// A broken promise. The sentence begins with the promise's name.
struct Violation: Error, CustomStringConvertible {
  var promise: String
  var text: String

  init(_ promise: Promise, _ text: String) {
    self.promise = promise.rawValue
    self.text = text
  }

  var description: String { "\(promise): \(text)" }
}

/// How often each event happened, and how often each promise was checked.
struct Tally: Sendable {
  private(set) var counts: [String: Int] = [:]

  mutating func count(_ event: String, _ number: Int = 1) { counts[event, default: 0] += number }

  subscript(_ event: String) -> Int { counts[event] ?? 0 }
  subscript(_ promise: Promise) -> Int { counts[promise.checked] ?? 0 }

  /// Counts a check, and throws if the promise does not hold.
  mutating func hold(
    _ promise: Promise, _ condition: Bool, _ text: () -> String
  ) throws(Violation) {
    count(promise.checked)
    guard condition else { throw Violation(promise, text()) }
  }

  mutating func add(_ other: Tally) {
    for (event, number) in other.counts { count(event, number) }
  }

  var text: String {
    counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }
}
