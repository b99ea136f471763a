// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("Every public name has a comment")
struct PublicCommentTests {
  /// Names whose meaning the protocol states that asks for them.
  private static let witnesses: Set<String> = [
    "==", "<", "hash", "description", "debugDescription", "errorDescription", "makeAsyncIterator",
    "AsyncIterator", "Element", "Failure", "Iterator",
  ]

  /// The name that a line of code declares as public.
  private func publicName(_ code: String) -> String? {
    let words = code.split { " (:<".contains($0) && !code.contains("func <") }.map(String.init)
    guard let start = words.firstIndex(of: "public") else { return nil }
    let kinds: Set = [
      "struct", "class", "enum", "actor", "protocol", "typealias", "func", "var", "let", "case",
      "associatedtype", "macro",
    ]
    for (index, word) in words.enumerated().dropFirst(start + 1) {
      if kinds.contains(word), index + 1 < words.count { return words[index + 1] }
      if word == "init" || word == "init?" || word == "subscript" { return word }
      if word == "import" || word == "extension" { return nil }
    }
    return nil
  }

  @Test("in the library and its companions")
  func comments() throws {
    var names = 0
    for file in Checkout.swiftFiles(below: "Sources") where file.hasPrefix("Sources/DiskQueue") {
      var isDocumented = false
      for line in SwiftText(try Checkout.text(file)).lines {
        if line.isDocumentation {
          isDocumented = true
          continue
        }
        let code = line.code.drop { $0 == " " }
        if code.isEmpty {
          if line.comment == nil { isDocumented = false }
          continue
        }
        if let name = publicName(line.code) {
          names += 1
          #expect(
            isDocumented || Self.witnesses.contains(name), "\(file):\(line.number): \(name)")
        } else if code.hasPrefix("@") || code.hasPrefix("#if") {
          // An attribute is between a comment and its declaration.
          continue
        }
        isDocumented = false
      }
    }
    #expect(names > 300)
  }
}
