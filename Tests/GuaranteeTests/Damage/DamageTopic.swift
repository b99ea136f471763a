// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A topic to be damaged, and every frame in it. From the frames follows which damage costs which
/// records.
struct DamageTopic: Sendable {
  struct Frame: Sendable {
    enum Kind: Sendable {
      case header, mark, record
    }

    var kind: Kind
    /// The base of its slab.
    var base: UInt64
    var start: UInt64
    var end: UInt64
    /// The `synced` that a header or mark states.
    var synced: UInt64 = 0
    var isVersion1 = false
  }

  let storage: SimulatedStorage
  let slabs: [UInt64: [UInt8]]
  let records: [NaiveRecord]
  let frames: [Frame]

  /// Takes a topic in which every record has its ordinal, and checks that it can be read back.
  init(_ storage: SimulatedStorage, _ records: [NaiveRecord]) throws {
    self.storage = storage
    slabs = storage.slabs
    self.records = records
    frames = slabs.sorted { $0.key < $1.key }.flatMap { Self.frames(in: $0.value, base: $0.key) }
    let pass = EnginePass(Topic(storage: storage), options: SmallTopic.readerOptions)
    guard pass.records == records, pass.losses.isEmpty,
      frames.count(where: { $0.kind == .record }) == records.count
    else { throw Complaint("a topic to be damaged is not sound: \(pass)") }
  }

  private static func integer(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> UInt64 {
    bytes[offset..<offset + size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  private static func frames(in bytes: [UInt8], base: UInt64) -> [Frame] {
    var frames: [Frame] = []
    var offset = 0
    let isVersion1 = bytes.first != 0x89
    while offset < bytes.count {
      let start = base + UInt64(offset)
      let word = Int(integer(bytes, offset, 4))
      let frame =
        if offset == 0, !isVersion1 {
          Frame(
            kind: .header, base: base, start: start, end: start + 80,
            synced: integer(bytes, 40, 8))
        } else if word == 0xFFFF_FFFF {
          Frame(
            kind: .mark, base: base, start: start, end: start + 48,
            synced: integer(bytes, offset + 24, 8))
        } else {
          Frame(
            kind: .record, base: base, start: start, end: start + 8 + UInt64(word),
            isVersion1: isVersion1)
        }
      frames.append(frame)
      offset = Int(frame.end - base)
    }
    return frames
  }

  // MARK: The cost of damage

  /// What one pass over a damaged copy has to deliver.
  struct Cost {
    /// The records that are read, in order.
    var survivors: [NaiveRecord] = []
    /// How many records are missing before the end.
    var lost: UInt64 = 0
    /// How many records the log took before it ends, including those that are gone from the front.
    var count: UInt64 = 0
    /// The frames that were hit before the end.
    var hits: [Frame] = []
    /// The addresses at which the log may end early. It ends at a hit frame that nothing else
    /// states to be durable. If that frame is a slab's header, it may also end at the end of the
    /// slab before.
    var ends: [UInt64] = []
    /// Records between two hits, if no known ordinal separates the hits. Such a record gets the
    /// lowest ordinal that it can have.
    var inexact: Set<UInt64> = []
    /// Whether the number of missing records is unknown. It is after damage in version 1 slabs.
    var isUncounted = false
  }

  /// Whether the first frame of a version 1 slab now states its length as queuefka's documentation
  /// says: the payload and 4. Readers accept this length as well.
  private static func readsAsDocumented(_ was: ArraySlice<UInt8>, _ now: ArraySlice<UInt8>) -> Bool
  {
    was.count == now.count && was[4...] == now[4...]
      && integer(Array(now.prefix(4)), 0, 4) == integer(Array(was.prefix(4)), 0, 4) + 4
  }

  /// The cost if the slabs now hold these bytes.
  ///
  /// One rule covers all damage:
  ///
  /// 1. A frame is hit if any of its bytes changed.
  /// 2. A hit record is lost. A hit mark or header costs nothing.
  /// 3. In a version 1 slab, everything after a hit frame is lost as well.
  /// 4. The log ends at a hit frame, unless a sound frame after it states that it was durable.
  /// 5. Slabs that are missing at the front were cleaned, because nothing shows another cause.
  func cost(of damaged: [UInt64: [UInt8]]) -> Cost {
    var isHit = [Bool](repeating: false, count: frames.count)
    // Whether a version 1 slab is read with the other length, so that it loses all but its first
    // record.
    var isSpared = false
    for (index, frame) in frames.enumerated() {
      guard let was = slabs[frame.base], let now = damaged[frame.base] else {
        isHit[index] = true
        continue
      }
      let (from, to) = (Int(frame.start - frame.base), Int(frame.end - frame.base))
      if frame.isVersion1 {
        if from == 0 {
          isSpared = Self.readsAsDocumented(was[..<to], now.prefix(to))
        } else {
          isHit[index] = isHit[index - 1] || isSpared
        }
        if from == 0, isSpared { continue }
      }
      if to > now.count || was[from..<to] != now[from..<to] { isHit[index] = true }
    }
    var cost = Cost()
    let first = damaged.keys.min() ?? .max
    if let front = frames.first, front.isVersion1 {
      // The ordinals of version 1 records are known while their first slab exists. The end of their
      // last slab is known while the next epoch states it.
      let next = frames.first { !$0.isVersion1 }?.base
      let says = frames.indices.contains {
        frames[$0].base == next && frames[$0].kind != .record && !isHit[$0]
      }
      cost.isUncounted = front.base < first || !says
    }
    var record = 0
    // Survivors since the last hit, until the next ordinal is known.
    var open: [UInt64]?
    // For each frame, the highest `synced` that is stated by a sound frame from there on.
    var highest = [UInt64](repeating: 0, count: frames.count + 1)
    for index in frames.indices.reversed() {
      highest[index] = max(highest[index + 1], isHit[index] ? 0 : frames[index].synced)
    }
    for (index, frame) in frames.enumerated() {
      cost.count = UInt64(record)
      defer { if frame.kind == .record { record += 1 } }
      guard frame.base >= first else { continue }
      switch (isHit[index], frame.kind) {
      case (true, let kind):
        guard highest[index + 1] > frame.start else {
          cost.ends = [frame.start]
          if kind == .header, index > 0 { cost.ends.append(frames[index - 1].end) }
          return cost
        }
        cost.hits.append(frame)
        if frame.isVersion1 { cost.isUncounted = true }
        if kind == .record { cost.lost += 1 }
        cost.inexact.formUnion(open ?? [])
        open = []
      case (false, .record):
        cost.survivors.append(records[record])
        open?.append(frame.start)
      case (false, _):
        open = nil
      }
    }
    cost.count = UInt64(record)
    return cost
  }

  /// The first fault of a pass over damaged bytes. Nil if there is none.
  ///
  /// - Parameter appended: the record that a writer appended afterwards.
  func fault(
    in pass: EnginePass, over cost: Cost, appended: NaiveRecord? = nil
  ) -> String? {
    if let error = pass.error { return "\(error)" }
    let expected = cost.survivors + (appended.map { [$0] } ?? [])
    guard
      pass.records.map(\.address) == expected.map(\.address),
      zip(pass.records, expected).allSatisfy({ $0.payload == $1.payload })
    else {
      let there = Set(pass.records.map(\.address))
      let missing = expected.filter { !there.contains($0.address) }.map(\.address)
      let known = Set(expected.map(\.address))
      let invented = pass.records.filter { !known.contains($0.address) }.map(\.address)
      return "missing \(missing), in excess \(invented)"
    }
    for (one, other) in zip(pass.records, expected) where one.ordinal != other.ordinal {
      guard cost.isUncounted || cost.inexact.contains(one.address) else {
        return "record \(other.ordinal ?? 0) has ordinal \(one.ordinal ?? 0)"
      }
      guard (one.ordinal ?? 0) < (other.ordinal ?? 0) else {
        return "record \(other.ordinal ?? 0) has a higher ordinal, \(one.ordinal ?? 0)"
      }
    }
    if !cost.ends.isEmpty, appended == nil, !cost.ends.contains(pass.end) {
      return "it ends at \(pass.end), not at \(cost.ends)"
    }
    if cost.hits.isEmpty != pass.losses.isEmpty { return "losses \(pass.losses)" }
    // Each loss covers a hit frame. The only other loss is at the end of a version 1 slab, if no
    // frame states any more that this was its end. Each hit frame is in one loss.
    for loss in pass.losses
    where !(cost.isUncounted && loss.records == nil && loss.to <= 1 << 40)
      && !cost.hits.contains(where: { $0.start < loss.to && $0.end > loss.from })
    {
      return "nothing was hit in \(loss)"
    }
    for hit in cost.hits
    where pass.losses.count(where: { hit.start < $0.to && hit.end > $0.from }) != 1 {
      return "\(hit) is not told once: \(pass.losses)"
    }
    let counts = pass.losses.compactMap(\.records)
    if !cost.isUncounted {
      guard counts.count == pass.losses.count, counts.reduce(0, +) == cost.lost else {
        return "\(cost.lost) records are missing, and told are \(pass.losses)"
      }
    } else if counts.reduce(0, +) > cost.lost {
      return "\(cost.lost) records are missing, and told are \(pass.losses)"
    }
    return nil
  }

  /// Reads a damaged copy, and returns the first fault.
  ///
  /// - Parameter asksNaive: whether the second reader has to agree.
  func fault(reading storage: SimulatedStorage, asksNaive: Bool) -> String? {
    let damaged = storage.slabs
    let pass = EnginePass(Topic(storage: storage), options: SmallTopic.readerOptions)
    if let fault = fault(in: pass, over: cost(of: damaged)) { return fault }
    return asksNaive ? pass.difference(from: naiveRead(slabs: damaged)) : nil
  }

  /// Opens a writer on a damaged copy. It must change no old byte, and every record that was not
  /// hit must still be there.
  func fault(recovering damaged: SimulatedStorage) throws -> String? {
    let storage = damaged.copy()
    let before = storage.slabs
    var cost = cost(of: before)
    let writer = try storage.writer(SmallTopic.options)
    let payload = SmallTopic.payload(1 << 20, length: 33)
    let address = try writer.append(payload).address.rawValue
    try writer.flush()
    writer.dieForTesting()
    for (base, bytes) in before where !(storage.slabs[base]?.starts(with: bytes) ?? false) {
      return "slab \(base) was changed"
    }
    let pass = EnginePass(Topic(storage: storage), options: SmallTopic.readerOptions)
    // The records after an early end are discarded, which is no loss.
    cost.ends = []
    return fault(
      in: pass, over: cost,
      appended: NaiveRecord(address, ordinal: cost.count, payload: payload))
  }
}
