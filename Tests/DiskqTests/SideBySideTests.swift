// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("Side by side")
struct SideBySideTests {
  @Test("G11: four processes read while one appends: each sees whole lines, a prefix, at last all")
  func readersBesideWriter() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.path + "/topic"
    let whole = try readFile(fixture("seattle-temps.csv")) + [UInt8(ascii: "\n")]
    let writer = try RunningDiskq("append", topic, "--ensure", "flushed", "--slab-size", "8KiB")
    // Wait for the first byte, so that there is a topic when the readers start.
    var start = 0
    func writeMore() throws {
      let end = min(start + 4001, whole.count)
      try writer.write(String(decoding: whole[start..<end], as: UTF8.self))
      start = end
    }
    try writeMore()
    while try Diskq.run("read", topic).output.isEmpty {}

    for _ in 0..<12 {
      let outputs = try await withThrowingTaskGroup(of: Outcome.self) { group in
        for _ in 0..<4 { group.addTask { try Diskq.run("read", topic) } }
        for _ in 0..<4 where start < whole.count { try writeMore() }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      for outcome in outputs {
        #expect(outcome.status == 0, "\(outcome.errors)")
        let isPrefix = whole.starts(with: outcome.output)
        #expect(isPrefix)
        #expect(outcome.output.last ?? 10 == UInt8(ascii: "\n"))
      }
    }
    while start < whole.count { try writeMore() }
    try writer.closeInput()
    #expect(try writer.outcome().status == 0)
    let isWhole = try Diskq.run("read", topic).output == whole
    #expect(isWhole)
  }
}
