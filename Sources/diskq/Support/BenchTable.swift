// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The figures as a table for people, 79 characters wide.
enum BenchTable {
  static let width = 79

  static func text(_ figures: [BenchFigures]) -> String {
    var text = line("", "a record", "records/s", "ratio", "least - most")
    for part in BenchRow.Part.allCases {
      let rows = figures.filter { $0.row.part == part }
      guard !rows.isEmpty else { continue }
      text += title(part) + "\n"
      for row in rows { text += line(row) }
    }
    return text
  }

  private static func title(_ part: BenchRow.Part) -> String {
    switch part {
    case .writing: "to the system's cache"
    case .reading: "from the system's cache"
    case .syncing: "to stable storage"
    }
  }

  private static func line(_ figures: BenchFigures) -> String {
    var text = line(
      "  " + figures.row.title, Figures.time(nanoseconds: figures.time.median),
      Figures.threeDigits(figures.recordsASecond),
      figures.ratio.map { Figures.ratio($0.median) } ?? "",
      figures.ratio.map { "\(Figures.ratio($0.least)) - \(Figures.ratio($0.most))" } ?? "")
    // If each record has its own sync, the rate already says so.
    if let syncs = figures.syncsASecond, let records = figures.recordsASync, records >= 1.5 {
      text +=
        "    \(Figures.threeDigits(syncs)) syncs/s, \(Figures.threeDigits(records)) records each\n"
    }
    return text
  }

  private static func line(
    _ title: String, _ time: String, _ rate: String, _ ratio: String, _ range: String
  ) -> String {
    let line =
      Layout.left(title, 36) + Layout.right(time, 8) + Layout.right(rate, 12)
      + Layout.right(ratio, 7) + Layout.right(range, 16)
    // No spaces follow the last column that is filled.
    guard let last = line.lastIndex(where: { $0 != " " }) else { return "\n" }
    return line[...last] + "\n"
  }

  /// How to read the table.
  static let legend = Layout.wrapped(
    """
    The ratio is the time of a record divided by that of the first row of its part. It is the \
    median of the rounds, then the least and the most. Raw rows handle bare payloads, without \
    checksum and address.
    """, width: width)
}
