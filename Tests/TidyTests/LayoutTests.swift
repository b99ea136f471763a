// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("Sources are laid out the same way everywhere")
struct LayoutTests {
  @Test("no line of a source or a script is longer than 100 characters")
  func sources() throws {
    for file in Checkout.files
    where file.hasSuffix(".swift") || file.hasPrefix(".ci/") && !file.hasSuffix(".patch") {
      let lines = try Checkout.text(file).split(separator: "\n", omittingEmptySubsequences: false)
      let long = lines.indices.filter {
        let line = lines[$0]
        // An address of the web cannot be broken.
        return line.utf8.count > 100 && line.count > 100 && !line.contains("://")
      }
      #expect(long.isEmpty, "\(file), lines \(long.map { $0 + 1 })")
    }
  }

  @Test("prose is wrapped: no line is longer than 100 characters, but for tables, code and links")
  func pages() throws {
    for file in Checkout.pages {
      let text = try Checkout.text(file)
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      let long = ProseLine.page(file, text).filter { prose in
        let line = lines[prose.number - 1]
        guard line.utf8.count > 100, line.count > 100 else { return false }
        let isTable = line.drop { $0 == " " }.hasPrefix("|")
        // A link or a code span cannot be broken.
        let longest = line.split(separator: " ").map(\.count).max() ?? 0
        return !isTable && longest <= 60
      }
      #expect(long.isEmpty, "\(file), lines \(long.map(\.number))")
    }
  }

  @Test("every source says whose it is and under which license")
  func header() throws {
    for file in Checkout.files where file.hasSuffix(".swift") {
      let name = Checkout.name(file)
      guard name != "Package.swift" else { continue }
      #expect(
        try Checkout.text(file).hasPrefix(
          """
          // This source file is part of the DiskQueue project.
          // SPDX-License-Identifier: Apache-2.0

          """), "\(file)")
    }
  }
}
