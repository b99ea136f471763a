// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("The article on errors")
struct ErrorPageTests {
  /// The cases of `QueueError.Code`, in the order of the source.
  private func codes() throws -> [String] {
    let lines = SwiftText(try Checkout.text("Sources/DiskQueue/QueueError.swift")).lines
    let start = try #require(lines.firstIndex { $0.code.contains("enum Code") })
    return lines[start...].prefix { !$0.code.hasPrefix("  }") }.compactMap { line in
      let words = line.code.split { !$0.isLetter }
      return words.first == "case" && words.count > 1 ? String(words[1]) : nil
    }
  }

  /// The codes in the first column of the table after the marker.
  private func rows() throws -> [String] {
    let page = try Checkout.text("Sources/DiskQueue/DiskQueue.docc/Errors.md")
    let lines = page.split(separator: "\n", omittingEmptySubsequences: false)
    let marker = try #require(lines.firstIndex(of: "<!-- codes -->"))
    return lines[(marker + 1)...].prefix { $0.hasPrefix("|") }.dropFirst(2).compactMap {
      $0.split(separator: "`").dropFirst().first.map(String.init)
    }
  }

  @Test("has a row for each code, in the order of the source, and no other")
  func codesOfThePage() throws {
    let codes = try codes()
    #expect(codes.count > 15)
    #expect(try rows() == codes)
  }
}
