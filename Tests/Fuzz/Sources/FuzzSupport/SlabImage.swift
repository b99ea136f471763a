// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The bytes of one slab's file, by its base.
public struct SlabImage: Sendable {
  public var base: UInt64
  public var bytes: [UInt8]

  public init(base: UInt64, bytes: [UInt8]) {
    self.base = base
    self.bytes = bytes
  }

  public var end: UInt64 { base &+ UInt64(bytes.count) }

  /// The base of a slab: the end of the one before, the next epoch, near that end, or anywhere.
  static func base(after last: SlabImage?, from input: inout Input) -> UInt64 {
    let end = last?.end ?? 0
    switch input.u8() % 6 {
    case 0, 1: return end
    case 2: return ((last?.base ?? 0) >> 40 &+ 1) << 40
    case 3: return end &+ input.i8()
    case 4: return input.u64()
    default: return Input.extremes[Int(input.u8()) % Input.extremes.count]
    }
  }

  // MARK: Slabs as files

  /// Takes files from the input. A few words are before each file: its base, the parts to repair,
  /// and its length. So if the fuzzer changes a byte in a mark, a sound mark with another meaning
  /// is left.
  public static func all(from input: inout Input) -> [SlabImage] {
    var slabs: [SlabImage] = []
    while !input.isEmpty, slabs.count < 8 {
      let base = base(after: slabs.last, from: &input)
      let repairs = Repairs(rawValue: input.u8())
      let count = Int(input.u16())
      var slab = SlabImage(base: base, bytes: input.take(count))
      slab.make(repairs)
      slabs.append(slab)
    }
    return slabs
  }

  /// The parts to repair in bytes that are taken as they are.
  public struct Repairs: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let header = Repairs(rawValue: 1)
    public static let marks = Repairs(rawValue: 2)
    public static let records = Repairs(rawValue: 4)
    public static let topicID = Repairs(rawValue: 8)
    /// Version 1, with lengths as queuefka writes them.
    public static let version1 = Repairs(rawValue: 16)
    /// Version 1, with lengths as queuefka's documentation states them.
    public static let version1Documented = Repairs(rawValue: 32)
  }

  public mutating func make(_ repairs: Repairs) {
    if repairs.contains(.version1) || repairs.contains(.version1Documented) {
      makeVersion1(extra: repairs.contains(.version1Documented) ? 4 : 0)
      return
    }
    guard bytes.count >= 80 else { return }
    if repairs.contains(.topicID) { bytes.set(forgedTopicID, at: 64) }
    if repairs.contains(.header) {
      bytes.set(base, at: 16)
      bytes.set(bytes.xxh3(0..<72, seed: 0), at: 72)
    }
    let id: UInt64 = bytes.integer(64) ?? 0
    var offset = 80
    while let word: UInt32 = bytes.integer(offset), bytes.count - offset >= 8 {
      let address = base &+ UInt64(offset)
      if word == 0xFFFF_FFFF {
        guard bytes.count - offset >= 48 else { return }
        if repairs.contains(.topicID) { bytes.set(id, at: offset + 40) }
        if repairs.contains(.marks) {
          let stated: UInt64 = bytes.integer(offset + 40) ?? 0
          let body = offset + 8..<offset + 48
          bytes.set(bytes.frameChecksum(body, seed: ~(stated ^ address)), at: offset + 4)
        }
        offset += 48
      } else {
        let end = offset + 8 + Int(word)
        guard end <= bytes.count else { return }
        if repairs.contains(.records) {
          bytes.set(bytes.frameChecksum(offset + 8..<end, seed: id ^ address), at: offset + 4)
        }
        offset = end
      }
    }
  }

  private mutating func makeVersion1(extra: UInt32) {
    var offset = 0
    while let word: UInt32 = bytes.integer(offset), word >= extra, bytes.count - offset >= 8 {
      let end = offset + 8 + Int(word - extra)
      guard end <= bytes.count else { return }
      bytes.set(bytes.xxh32(offset + 8..<end), at: offset + 4)
      offset = end
    }
  }
}
