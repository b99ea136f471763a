// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import FuzzSupport

/// The bytes of a cursor's file, and how the format's page judges them.
struct CursorImage {
  private(set) var bytes: [UInt8] = []

  /// A file of two slots. A slot is empty, raw bytes, raw bytes with a correct hash, or fields.
  init(from input: inout Input, _ topic: KnownTopic) {
    let kind = input.u8()
    bytes = [UInt8](repeating: 0, count: 8192)
    for slot in 0..<2 {
      let start = slot * 4096
      switch kind >> (2 * slot) & 3 {
      case 0: continue
      case 1: bytes.replaceSubrange(start..<start + 64, with: Self.padded(input.take(64)))
      case 2:
        bytes.replaceSubrange(start..<start + 64, with: Self.padded(input.take(64)))
        bytes.set(Self.hash(Array(bytes[start..<start + 64])), at: start + 56)
      default:
        bytes.replaceSubrange(
          start..<start + 64, with: Self.slot(UInt64(slot == 0 ? 2 : 1), &input, topic))
      }
    }
    if kind & 0x10 != 0 {
      let place = Int(input.u16()) % 8192
      bytes[place] ^= input.u8()
    }
    if kind & 0x20 != 0 { bytes = Array(bytes.prefix(Int(input.u16()) % 8300)) }
    if kind & 0x40 != 0 { bytes += input.take(Int(input.u8())) }
  }

  private static func padded(_ bytes: [UInt8]) -> [UInt8] {
    bytes + [UInt8](repeating: 0, count: 64 - bytes.count)
  }

  private static func hash(_ slot: [UInt8]) -> UInt64 { slot.xxh3(0..<56, seed: 0) }

  private static func slot(
    _ generation: UInt64, _ input: inout Input, _ topic: KnownTopic
  ) -> [UInt8] {
    let place = Int(input.u8())
    let record = topic.records.isEmpty ? nil : topic.records[place % topic.records.count]
    var slot: [UInt8] = [0x89, 0x44, 0x51, 0x43, 0x55, 0x52, 0x53, 0x0A]
    let version = UInt16(truncatingIfNeeded: input.number(near: 2))
    slot.add(version)
    slot += [0, 0, 0, 0, 0, 0]
    slot.add(input.number(near: generation))
    slot.add(input.number(near: forgedTopicID))
    slot.add(input.number(near: record?.address ?? 0))
    slot.add(input.number(near: record?.ordinal ?? 0))
    slot.add(version == 1 ? 0 : input.number(near: nameHash))
    slot.add(hash(slot))
    return slot
  }

  /// A slot of version 2 states this hash of its consumer's name.
  private static let nameHash: UInt64 = {
    let name = Array(Holding.name.utf8)
    return name.xxh3(0..<name.count, seed: 0)
  }()

  // MARK: Judgement by the page

  struct Slot {
    var version: UInt16
    var generation: UInt64
    var address: UInt64
    var ordinal: UInt64
  }

  enum Judgement {
    case never, damaged, unsupported
    case sound(Slot)
  }

  static func judge(_ file: [UInt8]) -> Judgement {
    let whole = file + [UInt8](repeating: 0, count: max(0, 8192 - file.count))
    var sound: [Slot] = []
    var empty = [false, false]
    for number in 0..<2 {
      let slot = Array(whole[number * 4096..<number * 4096 + 64])
      empty[number] = slot.allSatisfy { $0 == 0 }
      guard slot.starts(with: [0x89, 0x44, 0x51, 0x43, 0x55, 0x52, 0x53, 0x0A]),
        slot.integer(56) == hash(slot), let version: UInt16 = slot.integer(8),
        let generation: UInt64 = slot.integer(16), let address: UInt64 = slot.integer(32),
        let ordinal: UInt64 = slot.integer(40)
      else { continue }
      if version != 1 && version != 2 { return .unsupported }
      guard generation > 0, generation % 2 == UInt64(number),
        version == 1 || slot.integer(48) == nameHash
      else { continue }
      sound.append(
        Slot(version: version, generation: generation, address: address, ordinal: ordinal))
    }
    if let newer = sound.first(where: { $0.version == 2 }) {
      sound.removeAll { $0.version == 1 && $0.generation != newer.generation - 1 }
    }
    if let holds = sound.max(by: { $0.generation < $1.generation }) { return .sound(holds) }
    // If the file is too short, with zeros below the second slot, its making was cut short.
    let isCutShort = file.count < 8192 && empty[0]
    return isCutShort || empty[0] && empty[1] ? .never : .damaged
  }
}
