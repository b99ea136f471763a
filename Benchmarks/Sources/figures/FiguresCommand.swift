// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Report

/// Compares the pages with the results that they quote.
@main
struct FiguresCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "figures",
    abstract: "Compares each figure that a page quotes with Benchmarks/results/results.json.",
    discussion: """
      It prints the figures that differ, and the markers that name no figure, and exits with 1 if \
      there is one.
      """)

  @Argument(help: "The top level of the checkout, by default the current directory.")
  var checkout = "."

  @Flag(help: "Write the figures of the results into the pages. Exit with 1 only for markers.")
  var write = false

  func run() throws {
    let results = try JSONDecoder().decode(
      Results.self, from: Data(contentsOf: url("Benchmarks/results/results.json")))
    let markdown = Markdown(results)
    var (count, stale, broken) = (0, 0, 0)
    for file in try pages() {
      let before = try String(contentsOf: url(file), encoding: .utf8)
      let page = QuotedPage(before) { key in
        try results.text(of: Quotation(key))
      } table: { fileSystem in
        guard let table = markdown.table(fileSystem: fileSystem) else {
          throw QuotationError("nothing was measured on it")
        }
        return table
      }
      for finding in page.stale + page.broken { print("\(file):\(finding.line): \(finding.text)") }
      try replace(file, before, by: page.text)
      count += page.count
      stale += page.stale.count
      broken += page.broken.count
    }
    let table = "Benchmarks/results/results.md"
    let before = try String(contentsOf: url(table), encoding: .utf8)
    if before != markdown.text {
      print("\(table): the page differs")
      try replace(table, before, by: markdown.text)
      stale += 1
    }
    print(
      "\(count) quotations: \(stale) \(write ? "updated" : "differ from the results"),"
        + " \(broken) broken")
    if broken > 0 || stale > 0 && !write { throw ExitCode(1) }
  }

  /// The pages that quote figures, by their paths from the top level.
  private func pages() throws -> [String] {
    let articles = "Sources/DiskQueue/DiskQueue.docc"
    let files = try FileManager.default.subpathsOfDirectory(atPath: url(articles).path)
    return ["README.md", "Benchmarks/README.md"]
      + files.filter { $0.hasSuffix(".md") }.sorted().map { articles + "/" + $0 }
  }

  private func replace(_ file: String, _ before: String, by text: String) throws {
    guard write, before != text else { return }
    try text.write(to: url(file), atomically: true, encoding: .utf8)
  }

  private func url(_ file: String) -> URL {
    URL(fileURLWithPath: checkout).appendingPathComponent(file)
  }
}
