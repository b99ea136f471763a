// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("What is appended is read")
struct RoundTripTests {
  @Test("records come back in order, with their addresses and ordinals")
  func roundTrip() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    var addresses: [Address] = []
    for number in 0..<10_000 { addresses.append(try writer.append("record \(number)").address) }
    try writer.flush()

    var reader = try QueueReader(topic: topic)
    var count = 0
    while let record = try reader.next() {
      #expect(record.address == addresses[count])
      #expect(record.ordinal == UInt64(count))
      let text = record.text
      #expect(text == "record \(count)")
      count += 1
    }
    #expect(count == 10_000)
    try writer.close()
    let nothing = try reader.nextCopy()
    #expect(nothing == nil)
  }

  @Test("a topic on disk rolls, closes, and goes on after it is opened again")
  func reopen() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/a/b/topic")
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    var expected: [String] = []
    for run in 0..<3 {
      let writer = try QueueWriter(topic: topic, options: options)
      #expect(writer.recovery.wasClean)
      for number in 0..<500 {
        let text = "run \(run) record \(number)"
        expected.append(text)
        try writer.append(text)
      }
      if run == 1 { try writer.sync() }
      try writer.close()
    }
    var reader = try QueueReader(topic: topic)
    var found: [String] = []
    while let record = try reader.next() { found.append(record.text ?? "?") }
    #expect(found == expected)
  }

  @Test("a writer that dies is recovered, in a new epoch")
  func recover() throws {
    let topic = Topic.memory()
    let first = try QueueWriter(topic: topic)
    let kept = try first.append("kept").address
    try first.flush()
    try first.append("in the buffer")
    first.dieForTesting()
    let second = try QueueWriter(topic: topic)
    #expect(!second.recovery.wasClean)
    #expect(second.recovery.unprovenRecords == 1)
    let next = try second.append("next").address
    #expect(next.rawValue >= 1 << 40)
    try second.close()
    var reader = try QueueReader(topic: topic, from: .address(kept))
    var texts: [String?] = []
    while let record = try reader.next() { texts.append(record.text) }
    #expect(texts == ["kept", "next"])
  }
}
