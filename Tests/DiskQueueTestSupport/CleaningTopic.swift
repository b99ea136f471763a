// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue

/// A topic to be cleaned, on a simulated disk. A writer makes it from small slabs, or the test
/// forges it.
package struct CleaningTopic {
  package let storage = SimulatedStorage()
  package let clock = ManualClock()
  package static let topicID: UInt64 = 77

  package init() {}

  package var topic: Topic { Topic(storage: storage) }
  package var bases: [UInt64] { storage.slabs.keys.sorted() }
  /// The sizes of the slabs, by address.
  package var sizes: [UInt64] {
    storage.slabs.sorted { $0.key < $1.key }.map { UInt64($0.value.count) }
  }

  package func cleaner() throws -> SlabCleaner {
    try SlabCleaner(topic: topic, environment: fixedEnvironment(clock))
  }

  package func writer() throws -> QueueWriter {
    try QueueWriter(
      topic: topic, options: SmallTopic.options,
      environment: fixedEnvironment(clock, topicID: Self.topicID))
  }

  /// Appends distinct records of 700 bytes until there are `times` more slabs.
  package func roll(_ writer: QueueWriter, times: Int) throws {
    let slabs = storage.slabs.count + times
    while storage.slabs.count < slabs {
      let position = writer.position.rawValue
      try writer.append(SmallTopic.payload(position, length: 700))
    }
  }

  /// Fills the topic up to `slabs` slabs, and closes it.
  package func fill(slabs: Int) throws {
    let writer = try writer()
    try roll(writer, times: slabs - storage.slabs.count)
    try writer.close()
  }

  /// Writes a cursor's file that holds these slots, each at the offset of its generation.
  package func putCursor(
    _ name: String, _ slots: CursorSlot..., isSynced: Bool = true
  ) throws {
    var bytes = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    for slot in slots { put(slot, in: &bytes, of: name) }
    try putCursor(name, bytes: bytes, isSynced: isSynced)
  }

  package func put(_ slot: CursorSlot, in bytes: inout [UInt8], of consumer: String = "a") {
    let encoded = slot.bytes(of: consumer)
    let start = Int(CursorSlots.offset(ofGeneration: slot.generation))
    bytes.replaceSubrange(start..<start + encoded.count, with: encoded)
  }

  package func putCursor(_ name: String, bytes: [UInt8], isSynced: Bool = true) throws {
    try putFile(CursorName.string(name), bytes: bytes, isSynced: isSynced)
  }

  package func putFile(_ name: String, bytes: [UInt8], isSynced: Bool = true) throws {
    let directory = try storage.consumers(creating: true)
    try? directory.remove(name)
    let file = try directory.create(name)
    if !bytes.isEmpty { _ = try file.write(bytes.span.bytes, at: 0) }
    if isSynced {
      try directory.syncParent()
      try directory.syncDirectory()
      try file.sync()
    }
  }

  package func slot(
    _ address: UInt64, generation: UInt64 = 1, topicID: UInt64 = Self.topicID
  ) -> CursorSlot {
    CursorSlot(generation: generation, topicID: topicID, address: address, ordinal: 0)
  }
}

extension Retention {
  /// Keeps as little as a cleaner may.
  package static let nothing = Retention(records: 0, minimumBytes: .bytes(0))
}
