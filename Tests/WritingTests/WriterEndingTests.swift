// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("What a writer leaves, and who learns of it")
struct WriterEndingTests {
  @Test("closing again after a failed sync fails again, and says why")
  func closingTwice() throws {
    let storage = SimulatedStorage()
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: .init(), environment: fixedEnvironment())
    try writer.append("one")
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isSync })
    for _ in 0..<2 { #expect(queueError { try writer.close() }?.code == .syncFailed) }
    #expect(queueError { try writer.append("two") }?.code == .syncFailed)
  }

  @Test("a full disk and a close are no failure of the writer")
  func noFailure() throws {
    let storage = SimulatedStorage()
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: .init(), environment: fixedEnvironment())
    try writer.append("one")
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.noSpace), at: 1) { $0.isWrite })
    #expect(queueError { try writer.flush() }?.code == .noSpace)
    #expect(writer.failure == nil)
    storage.setFault(nil)
    try writer.close()
    #expect(queueError { try writer.append("two") }?.code == .closed)
    #expect(writer.failure == nil)
  }

  @Test("a slab that was left is synced, also where the record it was left for is refused")
  func leftForRefusedRecord() throws {
    let storage = SimulatedStorage()
    var options = QueueWriter.Options()
    options.bufferSize = .kibibytes(4)
    options.slabSize = .kibibytes(16)
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options,
      environment: fixedEnvironment(background: .inline))
    try writer.append([UInt8](repeating: 1, count: 12_000))
    try writer.flush()
    storage.setCapacity(storage.used)
    storage.logCalls()
    let error = queueError { try writer.append([UInt8](repeating: 2, count: 10_000)) }
    #expect(error?.code == .noSpace)
    #expect(storage.calls.contains { $0.isSync })
    storage.setCapacity(nil)
    try writer.append([UInt8](repeating: 3, count: 10_000))
    try writer.close()
    let read = try readAll(Topic(storage: storage))
    #expect(read.records.map { $0.payload[0] } == [1, 3])
  }

  @Test("a refused long record leaves nothing behind: the topic closes cleanly, and has its room")
  func refusedLongRecord() throws {
    let topic = Topic(storage: MemoryStorage(capacity: 1 << 20))
    var options = QueueWriter.Options()
    options.bufferSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options, environment: fixedEnvironment())
    try writer.append("one")
    let error = queueError { try writer.append([UInt8](repeating: 1, count: 2 << 20)) }
    #expect(error?.code == .noSpace)
    try writer.append("two")
    try writer.append([UInt8](repeating: 2, count: 1 << 19))
    try writer.close()
    let next = try QueueWriter(topic: topic, options: options, environment: fixedEnvironment())
    #expect(next.recovery.state == .clean)
    try next.close()
    let read = try readAll(topic)
    #expect(read.records.map(\.payload.count) == [3, 3, 1 << 19])
  }

  @Test("a reader that saw the first slab before its header reads on when it is there")
  func headerStillToCome() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let slab = try SlabFile.create(0, in: storage)
    var reader = try QueueReader(topic: Topic(storage: storage))
    #expect(try reader.nextCopy() == nil)
    let header = SlabHeader(
      largestPayload: 16 << 20, base: 0, ordinal: 0, stamp: 5, synced: 0, kept: 0, topicID: 9)
    var buffer = WriteBuffer(capacity: 256)
    buffer.put(header)
    buffer.put(header.copy, at: 80)
    let payload: [UInt8] = [1, 2, 3]
    buffer.putRecord(
      payload.span.bytes, checksum: Checksum.frame(payload.span.bytes, seed: 9 ^ 128))
    var written = 0
    try slab.write(buffer.bytes, at: 0, written: &written)
    let found = try reader.nextCopy()
    #expect(found?.payload == payload)
  }

  @Test("a closing mark with the highest ordinal of all, and a long record behind it, trap nothing")
  func highestOrdinal() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let slab = try SlabFile.create(0, in: storage)
    let header = SlabHeader(
      largestPayload: 16 << 20, base: 0, ordinal: 0, stamp: 5, synced: 0, kept: 0, topicID: 9)
    var buffer = WriteBuffer(capacity: 256)
    buffer.put(header)
    buffer.put(header.copy, at: 80)
    buffer.put(Mark(stamp: 5, ordinal: .max, synced: 176, kept: 0, topicID: 9), at: 128)
    var written = 0
    try slab.write(buffer.bytes, at: 0, written: &written)
    var options = QueueWriter.Options()
    options.bufferSize = .kibibytes(4)
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
    #expect(writer.recovery.state == .clean)
    let address = try writer.append([UInt8](repeating: 1, count: 10_000)).address
    try writer.close()
    var reader = try QueueReader(topic: Topic(storage: storage))
    let found = try reader.record(at: address).payload.count
    #expect(found == 10_000)
  }

  @Test("G5: a long record that was synced is known to be, though a mark stood behind it already")
  func proofAfterLongRecord() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: .init(), environment: fixedEnvironment())
    try writer.append("before")
    try writer.sync()
    let long = try writer.append([UInt8](repeating: 7, count: 70_000)).address
    try writer.sync()
    let after = try writer.append("after").address
    try writer.sync()
    writer.dieForTesting()
    storage.kill()
    storage.flip(bit: Int(long.rawValue + 100) * 8, ofSlab: 0)
    try QueueWriter(topic: topic, options: .init(), environment: fixedEnvironment()).close()
    let read = try readAll(topic)
    #expect(read.texts == ["before", "after"])
    #expect(read.records.last?.address == after)
    #expect(read.losses.map(\.records) == [1])
  }

  @Test("G12: a stamp does not go back where recovery cannot read the header that bears it")
  func stampBehindDamagedHeader() throws {
    let storage = SimulatedStorage()
    let clock = ManualClock()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: .init(), environment: fixedEnvironment(clock))
    try writer.append("one")
    try writer.flush()
    writer.dieForTesting()
    storage.kill()
    storage.flip(bit: 20 * 8, ofSlab: 0)
    clock.set(1000)
    try QueueWriter(topic: topic, options: .init(), environment: fixedEnvironment(clock)).close()
    let heads = try storage.slabs.keys.sorted().map { base in
      try #require(try SlabFile.open(base, in: storage)).head()
    }
    let stamps = heads.compactMap(\.stamp)
    #expect(stamps.count == 2)
    #expect(stamps == stamps.sorted())
  }

  @Test("a reader that saw a slab that was never finished follows the one made in its place")
  func slabMadeAnew() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let topic = Topic(storage: storage)
    func header(_ topicID: UInt64) -> SlabHeader {
      SlabHeader(
        largestPayload: 16 << 20, base: 0, ordinal: 0, stamp: 5, synced: 0, kept: 0,
        topicID: topicID)
    }
    _ = try SlabFile.createFirst(header(1), in: storage)
    var reader = try QueueReader(topic: topic)
    #expect(try reader.nextCopy() == nil)
    try storage.remove(SlabName.string(0))
    let writer = try QueueWriter(
      topic: topic, options: .init(), environment: fixedEnvironment(topicID: 2))
    try writer.append("first")
    try writer.close()
    #expect(try reader.nextCopy()?.text == "first")
  }
}
