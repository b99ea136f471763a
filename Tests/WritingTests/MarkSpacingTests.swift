// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Marks that lie closer than the format asks for")
struct MarkSpacingTests {
  @Test("a mark at least every 256 bytes, and around each longer payload")
  func close() throws {
    let storage = SimulatedStorage()
    var options = QueueWriter.Options()
    options.markSpacing = 256
    let writer = try storage.writer(options)
    var expected: [[UInt8]] = []
    for number in 0..<40 {
      let payload = Array("record \(number) ".utf8) + [UInt8](repeating: 7, count: number * 9)
      expected.append(payload)
      try writer.append(payload)
    }
    try writer.close()
    let naive = naiveRead(slabs: storage.slabs)
    #expect(naive.records.map(\.payload) == expected)
    #expect(storage.pass().difference(from: naive) == nil)
    for (record, next) in zip(naive.records, naive.records.dropFirst()) {
      let isLong = record.payload.count > 256 || next.payload.count > 256
      if isLong { #expect(next.address == record.end + 48) }
    }
    let first = naive.records.prefix { $0.payload.count <= 256 }
    var sinceMark: UInt64 = 0
    for (record, next) in zip(first, first.dropFirst()) {
      sinceMark += record.end - record.address
      #expect((next.address == record.end + 48) == (sinceMark >= 256))
      if next.address > record.end { sinceMark = 0 }
    }
  }
}
