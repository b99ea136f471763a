// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// Slabs that fuzzing found. Neither a writer nor damage makes such slabs.
@Suite("Forged slabs")
struct ForgedSlabTests {
  /// The bytes of a mark for an address, in a topic of `SlabForge`.
  private func mark(at address: UInt64, synced: UInt64) -> [UInt8] {
    var buffer = WriteBuffer(capacity: Mark.byteCount)
    buffer.put(Mark(stamp: 1, ordinal: 0, synced: synced, kept: 0, topicID: 77), at: address)
    return (0..<Mark.byteCount).map { buffer.bytes.byte($0) }
  }

  private func topic(_ slabs: [UInt64: [UInt8]]) throws -> Topic {
    let storage = MemoryStorage(capacity: 1 << 20)
    for (base, bytes) in slabs {
      _ = try SlabFile.create(base, in: storage).file.write(bytes.span.bytes, at: 0)
    }
    return Topic(storage: storage)
  }

  @Test("a sound mark in the place of a slab's header holds no reader there")
  func markAtTheBase() throws {
    var first = SlabForge(base: 48, synced: 0)
    first.putRecord([1])
    var second = SlabForge(base: 1 << 40, ordinal: 1, synced: first.end, kept: first.end)
    second.putRecord([2])
    let slabs = [
      0: mark(at: 0, synced: 0), first.base: first.bytes, second.base: second.bytes,
    ]
    let pass = EnginePass(try topic(slabs))
    #expect(pass.records.map(\.payload) == [[1], [2]])
    #expect(pass.difference(from: naiveRead(slabs: slabs)) == nil)
  }

  @Test("a slab that reaches over the end of its epoch ends there: what is behind is another's")
  func overTheEpoch() throws {
    let border: UInt64 = 1 << 40
    var forge = SlabForge(base: border - 200, synced: 0)
    for number in 0..<4 as Range<UInt8> { forge.putRecord([UInt8](repeating: number, count: 32)) }
    #expect(forge.end > border)
    let slabs = [forge.base: forge.bytes]
    let topic = try topic(slabs)
    let before = EnginePass(topic)
    #expect(before.records.map(\.ordinal) == [0])
    #expect(before.difference(from: naiveRead(slabs: slabs)) == nil)

    let writer = try QueueWriter(topic: topic, options: .init(), environment: fixedEnvironment())
    #expect(try writer.append("new").address == Address(rawValue: border + 128))
    try writer.close()
    let after = EnginePass(topic)
    #expect(after.records.map(\.ordinal) == [0, 1])
    #expect(after.records.last?.payload == Array("new".utf8))
  }
}
