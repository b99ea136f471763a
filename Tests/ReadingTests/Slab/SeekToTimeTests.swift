// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Synchronization
import Testing

@Suite("Reading from a time")
struct SeekToTimeTests {
  /// A clock that the test advances.
  private final class Clock: Sendable {
    private let nanoseconds = Mutex<UInt64>(1_000_000_000_000)
    var now: UInt64 { nanoseconds.withLock { $0 } }
    func advance(_ seconds: UInt64) { nanoseconds.withLock { $0 += seconds * 1_000_000_000 } }
  }

  @Test("begins at the last mark before it, however close together the marks stand")
  func closeMarks() throws {
    let topic = Topic.memory()
    let clock = Clock()
    let environment = Environment(
      now: { clock.now }, randomID: { 0x5EED }, background: .inline)
    let writer = try QueueWriter(topic: topic, options: .init(), environment: environment)
    var stamps: [UInt64] = []
    for number in 0..<40 {
      // More than a second has passed and the buffer is empty, so each record gets a mark before
      // it.
      clock.advance(10)
      stamps.append(clock.now)
      try writer.append("record \(number)")
      try writer.flush()
    }
    clock.advance(10)
    try writer.close()
    for number in 0..<40 {
      let time = Duration.nanoseconds(Int64(stamps[number]) + 1)
      var reader = try QueueReader(topic: topic, from: .time(since1970: time))
      let first = try reader.nextCopy()
      #expect(first?.text == "record \(number)")
    }
  }
}
