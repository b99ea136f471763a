// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// Mistakes in a command line for which the parser has no good message.
enum Spelling {
  /// The arguments, with each negative number joined to the option before it by `=`.
  ///
  /// The parser takes `-1` for an option, and would report that the option before it has no value.
  /// Joined, the number is that value, and the parser reports why it is wrong.
  static func joiningNegativeNumbers(_ arguments: [String]) -> [String] {
    var joined: [String] = []
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      guard argument != "--" else { return joined + [argument] + rest }
      if argument.hasPrefix("--"), !argument.contains("="), let next = rest.first,
        isNegativeNumber(next)
      {
        joined.append("\(argument)=\(next)")
        rest.removeFirst()
      } else {
        joined.append(argument)
      }
    }
    return joined
  }

  private static func isNegativeNumber(_ text: String) -> Bool {
    let bytes = text.utf8
    return bytes.first == UInt8(ascii: "-")
      && bytes.dropFirst().first.map { (0x30...0x39).contains($0) } == true
  }

  /// Refuses a first word that is no command, and names the command that it resembles.
  static func checkCommand(_ arguments: [String], _ commands: [String]) throws {
    // The parser would print the help of diskq for a word after help that is no command.
    let isHelp = arguments.first == "help"
    guard let word = isHelp ? arguments.dropFirst().first : arguments.first,
      !word.hasPrefix("-"), !commands.contains(word)
    else { return }
    // The beginning of a command, or one with as many changes as a slip of the finger makes.
    let typed = word.lowercased()
    let nearest = commands.min { distance(typed, $0) < distance(typed, $1) }
    let likely =
      commands.first { !typed.isEmpty && $0.hasPrefix(typed) }
      ?? nearest.flatMap { distance(typed, $0) <= 2 ? $0 : nil }
    let suggestion = likely.map { ". Did you mean '\($0)'?" }
    throw ValidationError("There is no command '\(word)'\(suggestion ?? "")")
  }

  /// How many letters to change, insert, leave out or swap with the next one.
  private static func distance(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left.utf8), Array(right.utf8))
    var rows = [Array(0...right.count)]
    for (i, a) in left.enumerated() {
      var row = [i + 1]
      for (j, b) in right.enumerated() {
        var least = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a == b ? 0 : 1))
        if i > 0, j > 0, a == right[j - 1], left[i - 1] == b {
          least = min(least, rows[i - 1][j - 1] + 1)
        }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[left.count][right.count]
  }
}
