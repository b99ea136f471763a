// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("The key of a quotation")
struct QuotationTests {
  @Test("with a path and a size means the median of DiskQueue")
  func short() throws {
    let quotation = try Quotation("append, one thread; 100 B")
    #expect(quotation.path == "append, one thread")
    #expect(quotation.at == "100 B")
    #expect(quotation.value == .median(of: "DiskQueue"))
    #expect(quotation.fileSystem == nil)
    #expect(quotation.unit == nil)
    #expect(quotation.digits == nil)
  }

  @Test(
    "has its other fields in any order",
    arguments: [
      "synced append; 100 B; floor; on tmpfs; in million records/s; 2 digits",
      "synced append; 100 B; 2 digits; in million records/s; on tmpfs; floor",
    ])
  func long(_ key: String) throws {
    let quotation = try Quotation(key)
    #expect(quotation.value == .median(of: "floor"))
    #expect(quotation.fileSystem == "tmpfs")
    #expect(quotation.unit == "million records/s")
    #expect(quotation.digits == 2)
  }

  @Test(
    "names another figure of the line",
    arguments: [
      ("ratio", Quotation.Value.ratio), ("times best peer", .timesBestPeer),
      ("note costs", .note(after: "costs")), ("a pipe", .median(of: "a pipe")),
      ("stdio / DiskQueue, one task", .quotient(of: "stdio", by: "DiskQueue, one task")),
      ("also p50 µs", .also("p50 µs")),
      ("DiskQueue, 1 MiB", .median(of: "DiskQueue, 1 MiB")),
    ])
  func values(_ field: String, _ value: Quotation.Value) throws {
    #expect(try Quotation("append; 100 B; \(field); 1 digit").value == value)
  }

  @Test(
    "is refused, if it names less than a line, or one thing twice",
    arguments: [
      "", "append", "append; ", "append; 100 B; 0 digits", "append; 100 B; many digits",
      "append; 100 B; ratio; floor", "append; 100 B; 1 digit; 2 digits",
      "append; 100 B; on a; on b",
    ])
  func refused(_ key: String) {
    #expect(throws: QuotationError.self) { try Quotation(key) }
  }

  @Test(
    "converts between units that measure the same",
    arguments: [
      (4161, "ns/record", "µs", 4.161), (58, "ms", "µs", 58_000), (1250, "µs", "ms", 1.25),
      (2_433_000, "records/s", "million records/s", 2.433), (125, "µs", "records/s", 8000),
      (20, "ns/record", "records/s", 50_000_000), (11.33, "MiB", "MiB", 11.33),
    ])
  func convert(_ figure: Double, _ unit: String, _ other: String, _ converted: Double) {
    #expect(Quotation.convert(figure, from: unit, to: other) == converted)
  }

  @Test(
    "does not convert between others", arguments: [("MB/s", "MiB"), ("µs", "MB/s"), ("µs", "h")])
  func unlike(_ unit: String, _ other: String) {
    #expect(Quotation.convert(1, from: unit, to: other) == nil)
  }
}
