// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("A page that quotes figures")
struct QuotedPageTests {
  private func page(_ text: String) -> QuotedPage {
    QuotedPage(text) { key in
      guard let figure = ["a; 1": "45", "b; 2": "1,000"][key] else {
        throw QuotationError("no such line")
      }
      return figure
    } table: { fileSystem in
      guard fileSystem == "ext4" else { throw QuotationError("not measured") }
      return "| one |\n|---|\n| two |"
    }
  }

  @Test("stays as it is, if its figures are those of the results")
  func same() {
    let text = """
      It takes <!-- figure: a; 1 -->45<!-- /figure --> ns,
      and then <!-- figure: b; 2 -->1,000<!-- /figure --> µs.

      | x | <!-- figure: a; 1 -->45<!-- /figure --> |

      <!-- table: ext4 -->
      | one |
      |---|
      | two |
      <!-- /table -->

      """
    let page = page(text)
    #expect(page.text == text)
    #expect(page.count == 4)
    #expect(page.stale.isEmpty)
    #expect(page.broken.isEmpty)
  }

  @Test("gets the figures of the results, and keeps the rest")
  func stale() {
    let page = page(
      "One.\nIt takes <!-- figure: a; 1 -->44<!-- /figure --> ns, "
        + "not <!-- figure: b; 2 --><!-- /figure -->.\n")
    #expect(
      page.text == "One.\nIt takes <!-- figure: a; 1 -->45<!-- /figure --> ns, "
        + "not <!-- figure: b; 2 -->1,000<!-- /figure -->.\n")
    #expect(
      page.stale == [
        .init(line: 2, text: "44 is quoted, 45 measured (a; 1)"),
        .init(line: 2, text: " is quoted, 1,000 measured (b; 2)"),
      ])
    #expect(page.broken.isEmpty)
  }

  @Test("gets the tables of the results")
  func table() {
    let page = page("<!-- table: ext4 -->\n| old |\n<!-- /table -->\nAfter.")
    #expect(
      page.text == "<!-- table: ext4 -->\n| one |\n|---|\n| two |\n<!-- /table -->\nAfter.")
    #expect(page.stale == [.init(line: 1, text: "the table differs (ext4)")])
  }

  @Test(
    "keeps what a broken marker encloses, and reports it",
    arguments: [
      ("It takes <!-- figure: c; 3 -->45<!-- /figure -->.", "no such line (c; 3)"),
      ("<!-- table: xfs -->\n| x |\n<!-- /table -->", "not measured (xfs)"),
      ("<!-- table: ext4 -->\n| x |", "the table has no end (ext4)"),
      ("- <!-- table: ext4 -->", "a table needs a line for each of its two markers"),
      ("<!-- /table -->", "a table needs a line for each of its two markers"),
      ("It takes <!-- figure: a; 1 -->44.", "a marker has no beginning or end on this line"),
      ("It takes 44<!-- /figure -->.", "a marker has no beginning or end on this line"),
      ("<!-- figure: a; 1", "a marker has no beginning or end on this line"),
    ])
  func broken(_ text: String, _ finding: String) {
    let page = page(text)
    #expect(page.text == text)
    #expect(page.broken.contains(.init(line: 1, text: finding)))
    #expect(page.stale.isEmpty)
  }

  @Test(
    "must not begin a line with a marker, which would make HTML of the line",
    arguments: ["", "  ", "- ", "12. ", "> "])
  func beginning(_ prefix: String) {
    let figure = "<!-- figure: a; 1 -->45<!-- /figure -->"
    #expect(page(prefix + figure).broken.count == 1)
    #expect(page(prefix + "x " + figure).broken.isEmpty)
  }

  @Test("may show a marker in fenced code")
  func fenced() {
    let text = """
      ```
      <!-- figure: a; 1 -->44<!-- /figure -->
      <!-- table: ext4 -->
      ```
      """
    let page = page(text)
    #expect(page.text == text)
    #expect(page.count == 0)
    #expect(page.broken.isEmpty)
  }
}
