// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A page of Markdown that quotes figures and tables of the results, in markers that are invisible
/// to its reader:
///
///     It takes <!-- figure: append, one thread; 100 B; 2 digits -->45<!-- /figure --> ns.
///
///     <!-- table: ext4 -->
///     | path | measured at | …
///     <!-- /table -->
package struct QuotedPage {
  /// A difference or a fault in a line of the page. Lines are counted from 1.
  package struct Finding: Equatable {
    package var line: Int
    package var text: String
  }

  /// The page with the figures and tables of the results.
  package private(set) var text = ""
  /// Quotations that differ from the results.
  package private(set) var stale: [Finding] = []
  /// Markers that are malformed, or whose figure is not in the results.
  package private(set) var broken: [Finding] = []
  /// How many figures and tables the page quotes.
  package private(set) var count = 0

  private static let tableEnd = "<!-- /table -->"

  /// - Parameters:
  ///   - page: the page as it is. Its fenced code is never changed.
  ///   - figure: the text of a figure, by the key in its marker.
  ///   - table: the text of a table, by the file system in its marker.
  package init(
    _ page: String, figure: (_ key: String) throws -> String,
    table: (_ fileSystem: String) throws -> String
  ) {
    let lines = page.split(separator: "\n", omittingEmptySubsequences: false)
    var result: [String] = []
    var isCode = false
    var index = 0
    while index < lines.count {
      let line = lines[index]
      if line.trimmingPrefix(while: { $0 == " " }).hasPrefix("```") { isCode.toggle() }
      if isCode {
        result.append(String(line))
      } else if let marker = line.wholeMatch(of: /<!-- table: (.*) -->/) {
        let shown = lines[(index + 1)...].prefix { $0 != Self.tableEnd }
        let hasEnd = shown.endIndex < lines.count
        let found = attempt(index + 1, String(marker.1), shown.joined(separator: "\n")) { key in
          guard hasEnd else { throw QuotationError("the table has no end") }
          return try table(key)
        }
        result += [String(line), found] + (hasEnd ? [Self.tableEnd] : [])
        index += shown.count + (hasEnd ? 1 : 0)
      } else {
        result.append(quoting(line, number: index + 1, figure))
      }
      index += 1
    }
    text = result.joined(separator: "\n")
  }

  /// The line with the figures of the results.
  private mutating func quoting(
    _ line: Substring, number: Int, _ figure: (String) throws -> String
  ) -> String {
    if line.contains(/<!-- \/?table/) {
      broken.append(Finding(line: number, text: "a table needs a line for each of its two markers"))
    }
    guard line.contains(/<!-- \/?figure/) else { return String(line) }
    if line.prefixMatch(of: /[ >]*([-*+] +|[0-9]+[.)] +)?<!--/) != nil {
      broken.append(
        Finding(line: number, text: "Markdown takes a line that begins with a marker for HTML"))
    }
    let quoted = /<!-- figure: (.*?) -->(.*?)<!-- \/figure -->/
    let markers = line.matches(of: quoted)
    if markers.count != line.ranges(of: "<!-- figure").count
      || markers.count != line.ranges(of: "<!-- /figure").count
    {
      broken.append(Finding(line: number, text: "a marker has no beginning or end on this line"))
      return String(line)
    }
    return String(line).replacing(quoted) { marker in
      let found = attempt(number, String(marker.1), String(marker.2), figure)
      return "<!-- figure: \(marker.1) -->\(found)<!-- /figure -->"
    }
  }

  /// The quoted text from the results, or the page's own text if the results do not have it.
  private mutating func attempt(
    _ line: Int, _ key: String, _ shown: String, _ body: (String) throws -> String
  ) -> String {
    count += 1
    do {
      let found = try body(key)
      if found != shown {
        let difference =
          found.contains("\n") ? "the table differs" : "\(shown) is quoted, \(found) measured"
        stale.append(Finding(line: line, text: "\(difference) (\(key))"))
      }
      return found
    } catch {
      broken.append(Finding(line: line, text: "\(error) (\(key))"))
      return shown
    }
  }
}
