// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Synchronization

/// A topic in memory, and the records that its reader still delivers when it is damaged.
struct DamagedCopies {
  /// How the topic is made. The payloads are always the same.
  enum Making {
    /// By a writer, and closed.
    case version2(records: UInt64, payloadBytes: Int)
    /// As queuefka writes it: a slab ends after the record that exceeds its size.
    case version1(records: UInt64, payloadBytes: Int)
  }

  private static let slabBytes: Int64 = 16 << 10

  private let storage: any TopicStorage
  private let slabs: [(base: UInt64, bytes: [UInt8])]
  private let records: [QueueRecord]

  init(_ making: Making) throws {
    storage = try Topic.memory().openForReading()
    let topic = Topic(storage: storage)
    switch making {
    case .version2(let count, let payloadBytes):
      var options = QueueWriter.Options()
      options.slabSize = .bytes(Self.slabBytes)
      let writer = try QueueWriter(topic: topic, options: options)
      for number in 0..<count {
        try writer.append(Payload.make(number, count: payloadBytes))
      }
      try writer.close()
    case .version1(let count, let payloadBytes):
      var bytes: [UInt8] = []
      var base: UInt64 = 0
      for number in 0..<count {
        let payload = Payload.make(number, count: payloadBytes)
        for word in [UInt32(payloadBytes), XXH32.hash(payload)] {
          for byte in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * byte))) }
        }
        bytes += payload
        guard Int64(bytes.count) > Self.slabBytes || number == count - 1 else { continue }
        try Self.put(bytes, base, in: storage)
        base += UInt64(bytes.count)
        bytes = []
      }
    }
    var names: [UInt64] = []
    try storage.forEachName { if let base = SlabName.parse($0) { names.append(base) } }
    slabs = try names.sorted().map { [storage] in ($0, try Self.read($0, in: storage)) }
    records = try Self.readAll(topic).records
    try check(
      records.map(\.payload) == (0..<1000).map { Payload.make($0, count: 100) },
      "the topic does not hold what was appended")
  }

  // MARK: Bytes

  private static func read(_ base: UInt64, in storage: any TopicStorage) throws -> [UInt8] {
    let file = try storage.open(SlabName.string(base), writable: false)
    let size = Int(try file.size())
    let target = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 1)
    defer { target.deallocate() }
    try check(try file.read(into: target, at: 0) == size, "a short read")
    return Array(target)
  }

  /// Makes a slab of these bytes. There must be none at this base.
  private static func put(_ bytes: [UInt8], _ base: UInt64, in storage: any TopicStorage) throws {
    let file = try storage.create(SlabName.string(base))
    var written = 0
    while written < bytes.count {
      let rest = Array(bytes[written...])
      written += try file.write(rest.span.bytes, at: UInt64(written))
    }
  }

  private static func readAll(
    _ topic: Topic
  ) throws -> (records: [QueueRecord], lost: UInt64, isCounted: Bool, end: Address) {
    var records: [QueueRecord] = []
    let losses = Mutex<[Loss]>([])
    var reader = try QueueReader(topic: topic) { loss in losses.withLock { $0.append(loss) } }
    while let record = try reader.nextCopy() { records.append(record) }
    let found = losses.withLock { $0 }
    return (
      records, found.reduce(0) { $0 + ($1.records ?? 0) },
      found.allSatisfy { $0.records != nil }, reader.position
    )
  }

  // MARK: Damage

  /// How many records are lost if some slabs hold other bytes. Nil: the slab is gone.
  private func lost(_ changed: [UInt64: [UInt8]?]) throws -> Int {
    for (base, bytes) in changed {
      try storage.remove(SlabName.string(base))
      if let bytes { try Self.put(bytes, base, in: storage) }
    }
    let read = try Self.readAll(Topic(storage: storage))
    for (base, bytes) in slabs where changed.keys.contains(base) {
      if changed[base] != .some(nil) { try storage.remove(SlabName.string(base)) }
      try Self.put(bytes, base, in: storage)
    }
    let given = Dictionary(uniqueKeysWithValues: read.records.map { ($0.address, $0.payload) })
    let lost = records.count { given[$0.address] != $0.payload }
    try check(
      given.count == records.count - lost,
      "records were given that nobody appended: \(changed.keys)")
    // A slab that is missing at the front counts as cleaned, because nothing shows another cause.
    // If nothing after the damage states that it was durable, it is a torn tail, and no loss.
    let isOfFront = changed[slabs[0].base] == .some(nil)
    let inside = records.count { given[$0.address] == nil && $0.address < read.end }
    try check(
      !read.isCounted || isOfFront || read.lost == UInt64(inside),
      "\(inside) records are lost, and \(read.lost) were told")
    return lost
  }

  /// The position of bytes in their slab.
  private struct Place {
    var slab: Int
    var offset: Int
    var count: Int
  }

  private func place(_ address: UInt64, after: Int, _ count: Int) -> Place {
    let slab = slabs.lastIndex { $0.base <= address } ?? 0
    return Place(slab: slab, offset: Int(address - slabs[slab].base) + after, count: count)
  }

  private func place(_ record: QueueRecord, _ kind: DamageKind) -> Place {
    switch kind {
    case .length: place(record.address.rawValue, after: 0, 4)
    case .checksum: place(record.address.rawValue, after: 4, 4)
    default: place(record.address.rawValue, after: 8, record.payload.count)
    }
  }

  private func flipping(
    _ places: [Place], _ random: inout Random
  ) -> [UInt64: [UInt8]?] {
    var changed: [UInt64: [UInt8]?] = [:]
    for place in places {
      let slab = slabs[place.slab]
      var bytes = (changed[slab.base] ?? nil) ?? slab.bytes
      let bit = random.below(place.count * 8)
      bytes[place.offset + bit / 8] ^= 1 << UInt8(bit % 8)
      changed[slab.base] = .some(bytes)
    }
    return changed
  }

  /// Damages the topic at many positions, one at a time.
  func cost(of kind: DamageKind) throws -> Cost {
    var random = Random(seed: 1)
    var cost = Cost()
    switch kind {
    case .payload, .length, .checksum:
      for record in records {
        cost.add(try lost(flipping([place(record, kind)], &random)))
      }
    case .two:
      for _ in records {
        let first = random.below(records.count)
        let second = (first + 1 + random.below(records.count - 1)) % records.count
        let places = [records[first], records[second]].map { place($0, kind) }
        cost.add(try lost(flipping(places, &random)))
      }
    case .mark, .header:
      for slab in slabs.indices {
        let place =
          kind == .header
          ? Place(slab: slab, offset: 0, count: 80) : Place(slab: slab, offset: 80, count: 48)
        for _ in 0..<100 { cost.add(try lost(flipping([place], &random))) }
      }
    case .closing:
      let last = slabs.count - 1
      let place = Place(slab: last, offset: slabs[last].bytes.count - 48, count: 48)
      for _ in 0..<100 { cost.add(try lost(flipping([place], &random))) }
    case .sector:
      for (base, bytes) in slabs {
        for start in stride(from: 0, to: bytes.count, by: 512) {
          let range = start..<min(start + 512, bytes.count)
          var zeroed = bytes
          zeroed.replaceSubrange(range, with: repeatElement(0, count: range.count))
          cost.add(try lost([base: zeroed]))
        }
      }
    case .cut:
      for (base, bytes) in slabs { cost.add(try lost([base: Array(bytes[..<(bytes.count / 2)])])) }
    case .gone:
      for (base, _) in slabs { cost.add(try lost([base: nil])) }
    }
    return cost
  }
}
