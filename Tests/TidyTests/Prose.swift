// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A line of prose: what a person reads, without code.
struct ProseLine {
  var file: String
  var number: Int
  var text: String
}

extension ProseLine {
  /// The prose of a Markdown file: no fenced code, no code spans, no targets of links, no comments.
  static func page(_ file: String, _ text: String) -> [ProseLine] {
    var lines: [ProseLine] = []
    var isCode = false
    var number = 0
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      number += 1
      if line.drop(while: { $0 == " " || $0 == ">" }).hasPrefix("```") {
        isCode.toggle()
      } else if !isCode {
        lines.append(ProseLine(file: file, number: number, text: withoutCode(line)))
      }
    }
    return lines
  }

  /// The comments of a shell script.
  static func script(_ file: String, _ text: String) -> [ProseLine] {
    var number = 0
    return text.split(separator: "\n", omittingEmptySubsequences: false).compactMap { line in
      number += 1
      let trimmed = line.drop { $0 == " " }
      guard trimmed.hasPrefix("#"), !trimmed.hasPrefix("#!") else { return nil }
      return ProseLine(file: file, number: number, text: withoutCode(trimmed.dropFirst()))
    }
  }

  /// Leaves out code between backticks, the targets of links, and HTML's comments and entities.
  static func withoutCode(_ line: some StringProtocol) -> String {
    var result = ""
    var rest = Substring(line)
    while let character = rest.first {
      if character == "`" {
        let ticks = rest.prefix { $0 == "`" }
        rest = rest.dropFirst(ticks.count)
        if let end = rest.range(of: ticks) {
          rest = rest[end.upperBound...]
          result += " x "
        }
      } else if rest.hasPrefix("](") {
        rest = rest.dropFirst(2).drop { $0 != ")" }
        result += "]"
      } else if rest.hasPrefix("<") {
        // A tag, a comment or an address.
        guard let end = rest.firstIndex(of: ">") else { break }
        rest = rest[rest.index(after: end)...]
        result += " x "
      } else if rest.hasPrefix("&"), let end = rest.prefix(9).firstIndex(of: ";") {
        rest = rest[rest.index(after: end)...]
        result += " x "
      } else {
        result.append(character)
        rest.removeFirst()
      }
    }
    return result
  }
}
