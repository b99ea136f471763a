// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("The size of a slab, if the options state none")
struct AutomaticSlabSizeTests {
  private func slabSize(
    _ topic: Topic, _ change: (inout QueueWriter.Options) -> Void = { _ in }
  ) throws -> UInt64 {
    var options = QueueWriter.Options()
    change(&options)
    let writer = try QueueWriter(topic: topic, options: options)
    defer { writer.core.die() }
    return writer.core.updateTail { $0.settings.slabSize }
  }

  @Test(
    "a sixteenth of the cap, from 4 KiB to 64 MiB, and 64 MiB without a cap",
    arguments: [
      (nil, 64 << 20), (1 << 16, 4096), (100_000, 6250), (10 << 20, 640 << 10),
      (1 << 30, 64 << 20), (1 << 40, 64 << 20), (.max, 64 << 20),
    ] as [(Int64?, UInt64)])
  func capped(_ cap: Int64?, _ size: UInt64) throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    #expect(try slabSize(topic) { $0.maximumBytes = cap.map(ByteCount.bytes) } == size)
  }

  @Test("in memory a sixteenth of the capacity, also if the options ask for more")
  func memory() throws {
    #expect(try slabSize(.memory(capacity: .mebibytes(1))) == 64 << 10)
    #expect(
      try slabSize(.memory(capacity: .mebibytes(1))) { $0.slabSize = .mebibytes(1) } == 64 << 10)
    #expect(try slabSize(.memory(capacity: .mebibytes(1))) { $0.slabSize = .kibibytes(4) } == 4096)
    #expect(try slabSize(.memory(capacity: .gibibytes(2))) == 64 << 20)
  }

  @Test("a channel's slabs have at most 16 MiB, and it opens with a small cap alone")
  func channel() async throws {
    for (cap, size) in [(nil, 16 << 20), (.mebibytes(10), 640 << 10)] as [(ByteCount?, UInt64)] {
      let directory = try TemporaryDirectory()
      var options = DiskChannel.Options()
      if let cap { options.writer.maximumBytes = cap }
      let channel = try DiskChannel(topic: Topic(directory.path + "/topic"), options: options)
      #expect(channel.writer.core.updateTail { $0.settings.slabSize } == size)
      try await channel.close()
    }
  }

  @Test("more than a quarter of the cap is refused, with the way out")
  func tooLarge() throws {
    let options = QueueWriter.Options(slabSize: .mebibytes(3), maximumBytes: .mebibytes(10))
    let error = queueError { try options.validate() }
    #expect(error?.code == .invalidOption)
    #expect(error?.message.contains("slabSize is 3MiB") == true)
    #expect(error?.message.contains("leave it out") == true)
    #expect(queueError { try QueueWriter.Options(maximumBytes: .mebibytes(10)).validate() } == nil)
  }

  @Test("at the smallest cap the newest records stay, and a drop takes a sixteenth")
  func smallest() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let writer = try QueueWriter(
      topic: topic, options: .init(maximumBytes: .kibibytes(64), whenFull: .dropOldest))
    for number in 0..<1_000 {
      try writer.append("record \(number) " + String(repeating: "\(number % 10)", count: 200))
    }
    try writer.close()
    let left = try readAll(topic).texts
    #expect(left.last?.hasPrefix("record 999 ") == true)
    // A record takes about 220 bytes, so 15 of 16 slabs hold more than 250 of them.
    #expect(left.count > 250)
    #expect(writer.statistics.droppedSlabs > 10)
  }
}
