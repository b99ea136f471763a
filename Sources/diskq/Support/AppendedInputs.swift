// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How far `append` came in its inputs, for a user to go on from there.
struct AppendedInputs {
  /// How many inputs there are.
  private let total: Int
  /// Whether a record is a line.
  private let isLines: Bool
  /// The inputs that `append` began, in order, with the number of records taken from each. The last
  /// number may count one more record, which the writer refused.
  private var begun: [(name: String, records: UInt64)] = []

  init(total: Int, isLines: Bool) {
    self.total = total
    self.isLines = isLines
  }

  mutating func add(_ name: String, records: UInt64) { begun.append((name, records)) }

  /// The report on the inputs.
  ///
  /// - Parameters:
  ///   - stored: how many records of all inputs are stored.
  ///   - hasOthers: whether some later records may be stored as well.
  func sentence(stored: UInt64, hasOthers: Bool = false) -> String {
    var left = stored
    var index = 0
    // The last input that was begun did not reach its end.
    while index < begun.count - 1, left >= begun[index].records {
      left -= begun[index].records
      index += 1
    }
    guard index < begun.count else { return "stored nothing" }
    let (name, records) = begun[index]
    let count = min(left, records)
    let before = index == 0 ? "" : "all of \(Self.inputs(index)) before, and "
    let line = isLines && count > 0 ? ", up to line \(count)" : ""
    let after = total - index - 1
    let rest = after == 0 ? "" : ", nor of \(Self.inputs(after)) after it"
    let sentence = "stored \(before)\(Count.text(count, "record")) of \(name)\(line)"
    guard !hasOthers else { return sentence + ", and perhaps some records of the rest" }
    return "\(sentence), and nothing of the rest\(rest)"
  }

  private static func inputs(_ count: Int) -> String {
    count == 1 ? "the input" : "the \(count) inputs"
  }
}
