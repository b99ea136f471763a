// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("A damaged length")
struct DamagedLengthTests {
  /// Frames of 32 bytes. If 32 or 64 is added to a length of 24, it leads one or two frames
  /// further.
  @Test(
    "G5: one that leads exactly to a later record hides none of those between", arguments: [5, 6])
  func leadsToALaterRecord(bit: Int) throws {
    let storage = SimulatedStorage()
    let writer = try storage.writer()
    for number in UInt64(0)..<20 { try writer.append(SmallTopic.payload(number, length: 24)) }
    try writer.close()
    let sound = storage.pass().records
    try #require(sound.count == 20)

    // The length word is the first word of the frame.
    let hit = sound[4]
    let length = UInt64(24 ^ 1 << bit)
    try #require(sound.contains { $0.address == hit.address + 8 + length })
    storage.flip(bit: Int(hit.address) * 8 + bit, ofSlab: 0)
    let pass = storage.pass()
    #expect(pass.records == sound.filter { $0.address != hit.address })
    #expect(pass.losses.map(\.records) == [1])
    #expect(storage.difference(from: pass) == nil)
  }
}
