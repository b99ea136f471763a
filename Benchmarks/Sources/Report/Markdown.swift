// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Harness

/// The results as a page.
package struct Markdown {
  private let results: Results

  package init(_ results: Results) { self.results = results }

  package var text: String {
    var parts = [heading]
    for fileSystem in fileSystems {
      parts.append("## On \(fileSystem)\n\n" + table(lines(fileSystem)))
      parts.append(notes(lines(fileSystem)))
      parts += contestants(lines(fileSystem))
    }
    parts.append(peers)
    return parts.filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
  }

  private var fileSystems: [String] {
    var seen: [String] = []
    for line in results.lines where !seen.contains(line.fileSystem) { seen.append(line.fileSystem) }
    return seen
  }

  private func lines(_ fileSystem: String) -> [Line] {
    results.lines.filter { $0.fileSystem == fileSystem }
  }

  private var heading: String {
    let goals = results.lines.flatMap(\.goals)
    return """
      # Results

      \(results.machine.sentence). \(results.machine.date), \
      \(results.minutes.text(digits: 2)) minutes.

      \(goals.count(where: \.isMet)) of \(goals.count) goals met. A ratio is the median of the \
      rounds' own ratios, in parentheses from the lowest to the highest. "times it" says how many \
      times as fast as the best peer DiskQueue is.
      """
  }

  // MARK: The table

  /// The table of one file system, or nil if none of its lines was measured on it.
  package func table(fileSystem: String) -> String? {
    let lines = lines(fileSystem)
    return lines.isEmpty ? nil : table(lines)
  }

  private func table(_ lines: [Line]) -> String {
    var text = """
      | path | measured at | unit | floor | DiskQueue | ratio (lowest … highest) | best peer \
      | times it | goal | met |
      |---|---|---|--:|--:|--:|---|--:|---|---|
      """
    for line in lines { text += "\n| " + cells(line).joined(separator: " | ") + " |" }
    return text
  }

  private func notes(_ lines: [Line]) -> String {
    lines.flatMap { line in
      line.notes.map { "- \(line.path), \(line.at): \($0)" }
    }.joined(separator: "\n")
  }

  private func cells(_ line: Line) -> [String] {
    let verdicts = line.goals.map {
      $0.isMet ? "yes" : "**no**: " + $0.value.text(digits: 3)
    }
    return [
      line.path, line.at, line.unit.rawValue, reference(line),
      line[.diskQueue].map { $0.figure.median.text } ?? "",
      line.ratio.map(spread) ?? "",
      bestPeer(line),
      line.timesBestPeer.map { $0.median.text } ?? "",
      line.goals.map(\.text).joined(separator: ", "),
      verdicts.joined(separator: ", "),
    ]
  }

  private func reference(_ line: Line) -> String {
    guard let entry = line[.reference] else { return "" }
    let figure = entry.figure.median.text
    return entry.name == "floor" ? figure : "\(figure) (\(entry.name))"
  }

  private func bestPeer(_ line: Line) -> String {
    guard let name = line.bestPeer, let entry = line.entries.first(where: { $0.name == name })
    else { return "" }
    return "\(name): \(entry.figure.median.text)"
  }

  // MARK: Every contestant

  /// For each path with contestants other than the floor and DiskQueue, a table of all contestants
  /// by size.
  private func contestants(_ lines: [Line]) -> [String] {
    var paths: [String] = []
    for line in lines
    where !paths.contains(line.path) && line.entries.contains(where: \.isBeyondTheTable) {
      paths.append(line.path)
    }
    return paths.map { path in
      let lines = lines.filter { $0.path == path }
      var names: [String] = []
      for entry in lines.flatMap(\.entries) where !names.contains(entry.name) {
        names.append(entry.name)
      }
      var text = "### \(capitalized(path)): every contestant, \(lines[0].unit.rawValue)\n\n"
      text += "| | " + lines.map(\.at).joined(separator: " | ") + " |\n|---|"
      text += lines.map { _ in "--:|" }.joined()
      for name in names {
        let cells = lines.map { line in
          line.entries.first { $0.name == name }.map(cell) ?? ""
        }
        text += "\n| \(name) | " + cells.joined(separator: " | ") + " |"
      }
      return text
    }
  }

  private func cell(_ entry: Entry) -> String {
    let also = (entry.also ?? [:]).sorted { $0.key < $1.key }.map {
      "\($0.key) \($0.value.text)"
    }
    return entry.figure.median.text
      + (also.isEmpty ? "" : " (\(also.joined(separator: ", ")))")
  }

  private var peers: String {
    guard !results.peers.isEmpty else { return "" }
    return "## The peers' settings\n\n"
      + results.peers.map { "- **\($0.name)** (\($0.version)): \($0.settings)" }
      .joined(separator: "\n")
  }

  private func capitalized(_ text: String) -> String {
    text.prefix(1).uppercased() + text.dropFirst()
  }

  private func spread(_ spread: Spread) -> String {
    "\(spread.median.text) (\(spread.minimum.text) … \(spread.maximum.text))"
  }
}

extension Entry {
  /// Whether the main table does not show it.
  fileprivate var isBeyondTheTable: Bool { role == .peer || role == .variant }
}
