// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// One line of a Swift file, taken apart: its code without literals, its comment, and its literals.
struct SwiftLine: Sendable {
  var number: Int
  /// String literals are left out of it, as `""`.
  var code = ""
  /// Without its slashes.
  var comment: String?
  var isDocumentation = false
  /// The literals that begin or go on in it, without interpolations.
  var literals: [String] = []

  var isOnlyComment: Bool { comment != nil && code.allSatisfy { $0 == " " } }
}

/// Takes a Swift file apart. It knows strings of one and of many lines, raw ones, interpolations
/// and comments of both kinds. It does not know regular expressions between slashes: none are used
/// here.
struct SwiftText {
  private enum Context {
    /// Parentheses that are open in an interpolation, or nil outside of one.
    case code(openParentheses: Int?)
    case literal(pounds: Int, isLong: Bool)
    case blockComment(depth: Int)
  }

  private(set) var lines: [SwiftLine] = []

  private let bytes: [UInt8]
  private var position = 0
  private var contexts: [Context] = [.code(openParentheses: nil)]
  private var line = SwiftLine(number: 1)
  private var code: [UInt8] = []
  /// Of each literal that is open, the outermost first.
  private var literals: [[UInt8]] = []
  private var comment: [UInt8]?

  init(_ text: String) {
    bytes = Array(text.utf8)
    parse()
  }

  private func byte(_ ahead: Int = 0) -> UInt8 {
    position + ahead < bytes.count ? bytes[position + ahead] : 0
  }

  private func isAhead(_ text: String) -> Bool {
    var ahead = 0
    for expected in text.utf8 {
      guard byte(ahead) == expected else { return false }
      ahead += 1
    }
    return true
  }

  private mutating func endLine() {
    line.code = String(decoding: code, as: UTF8.self)
    if let comment { line.comment = String(decoding: comment, as: UTF8.self) }
    for index in literals.indices { takeLiteral(index) }
    lines.append(line)
    line = SwiftLine(number: line.number + 1)
    code = []
    comment = nil
  }

  private mutating func takeLiteral(_ index: Int) {
    let literal = literals[index]
    if !literal.isEmpty { line.literals.append(String(decoding: literal, as: UTF8.self)) }
    literals[index] = []
  }

  private mutating func parse() {
    while position < bytes.count {
      if byte() == UInt8(ascii: "\n") {
        position += 1
        endLine()
        continue
      }
      switch contexts[contexts.count - 1] {
      case .code(let open): parseCode(open)
      case .literal(let pounds, let isLong): parseLiteral(pounds, isLong)
      case .blockComment(let depth): parseBlockComment(depth)
      }
    }
    if !code.isEmpty || comment != nil { endLine() }
  }

  private mutating func parseCode(_ open: Int?) {
    if isAhead("//") {
      line.isDocumentation = isAhead("///")
      position += line.isDocumentation ? 3 : 2
      comment = []
      while position < bytes.count, byte() != UInt8(ascii: "\n") {
        let next = byte()
        comment?.append(next)
        position += 1
      }
    } else if isAhead("/*") {
      position += 2
      comment = comment ?? []
      contexts.append(.blockComment(depth: 1))
    } else if let pounds = openingPounds() {
      position += pounds
      let isLong = isAhead("\"\"\"")
      position += isLong ? 3 : 1
      code += Array("\"\"".utf8)
      contexts.append(.literal(pounds: pounds, isLong: isLong))
      literals.append([])
    } else {
      if let open {
        if byte() == UInt8(ascii: "(") {
          contexts[contexts.count - 1] = .code(openParentheses: open + 1)
        } else if byte() == UInt8(ascii: ")") {
          if open == 1 {
            position += 1
            contexts.removeLast()
            return
          }
          contexts[contexts.count - 1] = .code(openParentheses: open - 1)
        }
      }
      code.append(byte())
      position += 1
    }
  }

  /// How many number signs come before the quotation mark of a literal that begins here.
  private func openingPounds() -> Int? {
    var pounds = 0
    while byte(pounds) == UInt8(ascii: "#") { pounds += 1 }
    return byte(pounds) == UInt8(ascii: "\"") ? pounds : nil
  }

  private func arePoundsAhead(_ count: Int, from start: Int) -> Bool {
    (0..<count).allSatisfy { byte(start + $0) == UInt8(ascii: "#") }
  }

  private mutating func parseLiteral(_ pounds: Int, _ isLong: Bool) {
    if byte() == UInt8(ascii: "\\"), arePoundsAhead(pounds, from: 1) {
      position += 1 + pounds
      if byte() == UInt8(ascii: "(") {
        position += 1
        literals[literals.count - 1] += Array(" x ".utf8)
        contexts.append(.code(openParentheses: 1))
      } else {
        literals[literals.count - 1].append(UInt8(ascii: " "))
        if byte() != UInt8(ascii: "\n") { position += 1 }
      }
    } else if isLong ? isAhead("\"\"\"") : byte() == UInt8(ascii: "\""),
      arePoundsAhead(pounds, from: isLong ? 3 : 1)
    {
      position += (isLong ? 3 : 1) + pounds
      takeLiteral(literals.count - 1)
      literals.removeLast()
      contexts.removeLast()
    } else {
      let next = byte()
      literals[literals.count - 1].append(next)
      position += 1
    }
  }

  private mutating func parseBlockComment(_ depth: Int) {
    if isAhead("*/") {
      position += 2
      if depth == 1 {
        contexts.removeLast()
      } else {
        contexts[contexts.count - 1] = .blockComment(depth: depth - 1)
      }
    } else if isAhead("/*") {
      position += 2
      contexts[contexts.count - 1] = .blockComment(depth: depth + 1)
    } else {
      comment = (comment ?? []) + [byte()]
      position += 1
    }
  }
}
