// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Slabs that a program makes. Every structure in them can be sound, and every field can have any
/// value.
public struct SlabProgram {
  private var slabs: [SlabImage] = []
  private var byteCount = 0
  // The values that a writer would state next.
  private var ordinal: UInt64 = 0
  private var stamp: UInt64 = 1_600_000_000_000_000_000
  private var synced: UInt64 = 0
  private var kept: UInt64 = 0

  private static let mostSteps = 500
  /// Bounds the cost of one input: a search may hash 64 KiB for each crafted byte.
  private static let mostBytes = 96 << 10

  public static func slabs(from input: inout Input) -> [SlabImage] {
    var program = SlabProgram()
    for _ in 0..<mostSteps where !input.isEmpty && program.byteCount < mostBytes {
      program.step(&input)
    }
    return program.slabs
  }

  private var end: UInt64 { slabs.last?.end ?? 0 }

  private mutating func append(_ bytes: [UInt8]) {
    guard !slabs.isEmpty else { return }
    slabs[slabs.count - 1].bytes += bytes
    byteCount += bytes.count
  }

  private mutating func step(_ input: inout Input) {
    switch input.u8() % 16 {
    case 0: beginSlab(&input)
    case 1, 2, 3: putRecord(payload(Int(input.u8()), input.u8()))
    // Also above 64 KiB, the most that may be between two marks.
    case 4: putRecord(payload(Int(input.u16()) + 16 * Int(input.u8()), input.u8()))
    case 5: putRecord(plant(&input))
    case 6: putMark()
    case 7: putMark(changing: &input)
    case 8:
      // A closing mark states its own end.
      synced = end &+ 48
      putMark()
    case 9: append(input.take(Int(input.u8())))
    case 10: append([UInt8](repeating: 0, count: Int(input.u8())))
    case 11: change(&input)
    case 12: truncate(Int(input.u8()))
    case 13: putLyingRecord(&input)
    case 14: putStale(&input)
    default:
      // A sync, after which time passes.
      synced = end
      stamp &+= UInt64(input.u8()) << 30
    }
  }

  private func payload(_ count: Int, _ fill: UInt8) -> [UInt8] {
    (0..<count).map { fill &+ UInt8(truncatingIfNeeded: $0 &* 7) }
  }

  // MARK: Headers and marks

  private mutating func beginSlab(_ input: inout Input) {
    guard slabs.count < 8 else { return }
    let base = SlabImage.base(after: slabs.last, from: &input)
    if let last = slabs.last, last.base >> 40 != base >> 40 {
      kept = input.number(near: last.end)
      synced = max(synced, kept)
    }
    slabs.append(SlabImage(base: base, bytes: []))
    // Which fields differ from those of a writer.
    let changed = input.u8()
    func field(_ bit: UInt8, _ right: UInt64) -> UInt64 {
      changed & bit == 0 ? right : input.number(near: right)
    }
    var header: [UInt8] = [0x89, 0x44, 0x51, 0x53, 0x4C, 0x41, 0x42, 0x0A]
    header.add(changed & 0xC0 == 0xC0 ? UInt16(input.u8()) : 2)
    header.add(changed & 0xC0 == 0xC0 ? UInt16(input.u8()) : 0)
    header.add(UInt32(truncatingIfNeeded: field(1, 16 << 20)))
    header.add(base)
    ordinal = field(2, ordinal)
    header.add(ordinal)
    stamp = field(4, stamp)
    header.add(stamp)
    synced = field(8, synced)
    header.add(synced)
    kept = field(16, kept)
    header.add(kept)
    header.add(0 as UInt64)
    header.add(field(32, forgedTopicID))
    header.add(header.xxh3(0..<72, seed: 0) ^ (changed & 0xC0 == 0x80 ? 1 : 0))
    append(header)
    if changed & 0xC0 != 0x40 { putMark() }
  }

  private mutating func putMark() {
    append(mark(at: end, ordinal, stamp, synced, kept, forgedTopicID))
  }

  private mutating func putMark(changing input: inout Input) {
    let changed = input.u8()
    func field(_ bit: UInt8, _ right: UInt64) -> UInt64 {
      changed & bit == 0 ? right : input.number(near: right)
    }
    append(
      mark(
        at: changed & 32 == 0 ? end : input.number(near: end), field(1, ordinal), field(2, stamp),
        field(4, synced), field(8, kept), field(16, forgedTopicID)))
  }

  private func mark(
    at address: UInt64, _ ordinal: UInt64, _ stamp: UInt64, _ synced: UInt64, _ kept: UInt64,
    _ id: UInt64
  ) -> [UInt8] {
    var mark: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]
    for field in [stamp, ordinal, synced, kept, id] { mark.add(field) }
    mark.set(mark.frameChecksum(8..<48, seed: ~(id ^ address)), at: 4)
    return mark
  }

  // MARK: Records

  private func record(_ payload: [UInt8], at address: UInt64) -> [UInt8] {
    var frame: [UInt8] = []
    frame.add(UInt32(payload.count))
    frame.add(payload.frameChecksum(0..<payload.count, seed: forgedTopicID ^ address))
    return frame + payload
  }

  private mutating func putRecord(_ payload: [UInt8]) {
    append(record(payload, at: end))
    ordinal &+= 1
  }

  /// A payload that contains sound frames, made for the addresses at which they will be.
  private func plant(_ input: inout Input) -> [UInt8] {
    let place = end &+ 8
    let planted = record([input.u8()], at: place)
    let address = place &+ UInt64(planted.count)
    return planted
      + mark(
        at: address, input.number(near: ordinal), stamp, input.number(near: address),
        input.number(near: kept), forgedTopicID) + record([7], at: address &+ 48)
  }

  private mutating func putLyingRecord(_ input: inout Input) {
    var frame = record(payload(Int(input.u8()), 3), at: end)
    frame.set(UInt32(truncatingIfNeeded: input.number(near: UInt64(frame.count) &- 8)), at: 0)
    append(frame)
    ordinal &+= 1
  }

  /// Appends a copy of bytes from elsewhere: stale frames.
  private mutating func putStale(_ input: inout Input) {
    guard let source = slabs.dropLast(Int(input.u8()) % (slabs.count + 1)).last else { return }
    let start = min(Int(input.u16()), source.bytes.count)
    append(Array(source.bytes[start...].prefix(Int(input.u8()) * 4)))
  }

  // MARK: Damage

  private mutating func change(_ input: inout Input) {
    let place = Int(input.u16())
    let bits = input.u8()
    guard let count = slabs.last?.bytes.count, count > 0 else { return }
    slabs[slabs.count - 1].bytes[count - 1 - place % count] ^= bits
  }

  private mutating func truncate(_ count: Int) {
    guard let last = slabs.last else { return }
    slabs[slabs.count - 1].bytes.removeLast(min(count, last.bytes.count))
  }
}
