// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The prose of this project, by its readers.
struct ProjectProse {
  /// For users: articles, papers, comments of public declarations, messages and help.
  private(set) var open: [ProseLine] = []
  /// For the project's own programmers: all other comments.
  private(set) var inner: [ProseLine] = []

  init() throws {
    for file in Checkout.pages { open += ProseLine.page(file, try Checkout.text(file)) }
    for file in Checkout.files where file.hasSuffix(".swift") {
      add(file, SwiftText(try Checkout.text(file)).lines)
    }
    for file in Checkout.files where file.hasPrefix(".ci/") {
      let text = try Checkout.text(file)
      if text.hasPrefix("#!") { inner += ProseLine.script(file, text) }
    }
  }

  private mutating func add(_ file: String, _ lines: [SwiftLine]) {
    let isShipped = file.hasPrefix("Sources/")
    var documentation: [ProseLine] = []
    for line in lines {
      if isShipped {
        for literal in line.literals where words(literal).count > 2 {
          open.append(ProseLine(file: file, number: line.number, text: literal))
        }
      }
      let code = line.code.split(separator: " ")
      if let comment = line.comment, !comment.contains("SPDX-License-Identifier") {
        let prose = ProseLine(
          file: file, number: line.number, text: ProseLine.withoutCode(comment))
        if line.isDocumentation, isShipped {
          documentation.append(prose)
        } else {
          inner.append(prose)
        }
      }
      // The declaration that the comment above is of, past its attributes.
      guard let first = code.first else { continue }
      if first.hasPrefix("@"), !code.contains("public") { continue }
      if code.contains("public") || first == "case" {
        open += documentation
      } else {
        inner += documentation
      }
      documentation = []
    }
    inner += documentation
  }
}

@Suite("The project writes plain English")
struct IdiomTests {
  private static let prose = Result { try ProjectProse() }

  /// Uses of a word in its literal sense, by a part of the line.
  private static let literal: [(file: String, part: String)] = [
    ("diskq/Support/WatchLine.swift", " behind,"),
    ("diskq/Support/WatchScreen.swift", "falls behind"),
    ("diskq/Support/WatchScreen.swift", "stands still"),
  ]

  private static func isLiteral(_ line: ProseLine) -> Bool {
    literal.contains { line.file.hasSuffix($0.file) && line.text.contains($0.part) }
  }

  @Test("pages, public comments, messages and help are free of it", arguments: Idiom.all)
  func open(_ idiom: Idiom) throws {
    let lines = try Self.prose.get().open.filter {
      idiom.count(in: words($0.text)) > 0 && !Self.isLiteral($0)
    }
    let places = lines.map { "\($0.file):\($0.number):\($0.text)" }
    #expect(
      lines.isEmpty,
      "\(lines.count) lines; \(idiom.instead):\n\(places.joined(separator: "\n"))")
  }

  @Test("internal comments have less of it than those of the models", arguments: Idiom.all)
  func inner(_ idiom: Idiom) throws {
    var count = 0
    var total = 0
    var last: [String] = []
    for line in try Self.prose.get().inner where !Self.isLiteral(line) {
      let words = words(line.text)
      total += words.count { $0 != ";" }
      let found = idiom.count(in: words)
      if found > 0 { last = last.suffix(19) + ["\(line.file):\(line.number):\(line.text)"] }
      count += found
    }
    #expect(total > 10_000)
    #expect(
      Double(count) * 1000 <= idiom.mostPerThousand * Double(total),
      "\(count) in \(total) words; \(idiom.instead); the last:\n\(last.joined(separator: "\n"))")
  }

  @Test("what finds an idiom finds it in each kind of text, and in no code")
  func finds() {
    let swift = SwiftText(
      #"""
      /// Tells who waits; `who` is code.
      public func told(_ who: String) { print("nobody \(who + "x") told", #"a " who"#) } // behind
      let text = """
        where it lies
        """
      /* he /* nested; */ who */
      """#)
    #expect(swift.lines.map(\.comment).compactMap(\.self).count == 3)
    #expect(swift.lines[1].literals == ["x", "nobody  x  told", "a \" who"])
    #expect(swift.lines[1].comment == " behind")
    #expect(swift.lines[2].code == "let text = \"\"")
    #expect(swift.lines[3].literals == ["  where it lies"])
    let line = ProseLine.withoutCode("Tells who waits; ``who`` is [told](behind.md) &lt; <br> who")
    #expect(
      words(line) == ["tells", "who", "waits", ";", "x", "is", "told", "x", "x", "who"])
    let counts = Idiom.all.map { $0.count(in: words("What was had is; it was had behind. No one")) }
    #expect(counts == [0, 0, 1, 1, 0, 0, 1, 1, 0, 2])
    let page = ProseLine.page("a.md", "one\n```\ncode\n```\ntwo `code` three")
    #expect(page.map(\.text) == ["one", "two  x  three"])
    #expect(page.map(\.number) == [1, 5])
  }
}
