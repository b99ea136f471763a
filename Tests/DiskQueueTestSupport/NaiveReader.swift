// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import CXXHash

// Names such as R7 are those of the rules in FileFormat.md.

// MARK: - What a pass gives

/// A record, its address, and its ordinal if O10 makes it exact. Nil: it is the least that it can
/// be.
public struct NaiveRecord: Hashable, Sendable {
  public var address: UInt64
  public var ordinal: UInt64?
  public var payload: [UInt8]
}

/// A loss, as in O1.
public struct NaiveLoss: Hashable, Sendable {
  /// Why records are missing, or why some were delivered that the log does not count.
  public enum Cause: Hashable, Sendable {
    case damaged, cleaned, discarded
  }

  public var cause: Cause
  public var from: UInt64
  public var to: UInt64
  public var records: UInt64?
}

/// One step of a pass.
public enum NaiveEvent: Hashable, Sendable {
  case record(NaiveRecord)
  case loss(NaiveLoss)
}

/// Everything that one pass over a quiet directory showed.
public struct NaiveResult: Sendable {
  public var events: [NaiveEvent]
  /// The address at which the log ends, or the base of the slab at which reading was refused.
  public var end: UInt64
  /// Whether the topic is cleanly closed, by R26.
  public var isClean: Bool
  /// Why a slab was refused, if one was.
  public var refused: String?

  public var records: [NaiveRecord] {
    events.compactMap { if case .record(let record) = $0 { record } else { nil } }
  }
}

/// Reads a quiet topic from its earliest record to the end of its log: the tests' second reader.
///
/// The library's reader is quick: it buffers, seeks, follows a writer and remembers what it read.
/// This one was written from the page that describes the format alone, and shares no line and no
/// constant with the library. So if one of them misreads the page, the two differ, instead of the
/// library being tested against itself. It holds all files in memory, finds all marks before it
/// reads the first record, and prefers the obvious to the fast.
///
/// No program writes to the directory meanwhile. So a second look would show the same as the first
/// one. These rules are not here:
///
/// - F9: it has no limit of its own.
/// - M5 and M12, but in R5: it matters for forged marks alone.
/// - M6 to M10, and P: it starts at the earliest record.
/// - R33: it matters for planted marks alone.
/// - R27 to R32: no read fails, and nothing changes.
/// - D10 to D14: it tries every record.
///
/// - Parameter slabs: The bytes of each file, by the base address that is its name.
public func naiveRead(slabs: [UInt64: [UInt8]]) -> NaiveResult {
  var pass = NaivePass(topic: NaiveTopic(files: slabs))
  return pass.run()
}

// MARK: - Numbers and hashes

private let naiveHeaderSize: UInt64 = 80
private let naiveMarkSize: UInt64 = 48
private let naiveFrameHeaderSize: UInt64 = 8
private let naiveMarkWord: UInt64 = 0xFFFF_FFFF
private let naiveLargestLengthWord: UInt64 = 0xFFFF_FFEF
private let naiveLongestTriedPayload: UInt64 = 64 * 1024

/// T1: the little-endian integer of `size` bytes at `offset`. Nil if not all of them are there.
private func naiveInteger(_ bytes: [UInt8], _ offset: Int, size: Int) -> UInt64? {
  guard offset >= 0, offset <= bytes.count, size <= bytes.count - offset else { return nil }
  var value: UInt64 = 0
  for index in 0..<size {
    value |= UInt64(bytes[offset + index]) << UInt64(8 * index)
  }
  return value
}

/// T2: XXH3-64 of a range of bytes that is known to be there.
private func naiveHash(_ bytes: [UInt8], _ range: Range<Int>, seed: UInt64) -> UInt64 {
  bytes[range].withUnsafeBytes { XXH3_64bits_withSeed($0.baseAddress, $0.count, seed) }
}

/// Q2: XXH32 of a range of bytes that is known to be there.
private func naiveHash32(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
  bytes[range].withUnsafeBytes { UInt64(XXH32($0.baseAddress, $0.count, 0)) }
}

/// T3: the checksum that a frame stores. It is never 0, so zeros are never a frame (F5).
private func naiveChecksum(_ hash: UInt64) -> UInt64 {
  let low = hash & 0xFFFF_FFFF
  return low == 0 ? 1 : low
}

/// A1.
private func naiveEpoch(_ address: UInt64) -> UInt64 { address >> 40 }

// MARK: - Headers

private struct NaiveHeader {
  var largestPayload: UInt64
  var ordinal: UInt64
  var synced: UInt64
  var kept: UInt64
  var topicID: UInt64
}

private enum NaiveHeaderLook {
  /// S3, of whatever topic.
  case sound(NaiveHeader)
  /// S5.
  case unsound
  /// S4.
  case newer(String)
}

/// S2: judges the header of the slab named `base`, whatever topic it states.
private func naiveHeader(of bytes: [UInt8], base: UInt64) -> NaiveHeaderLook {
  let magic: [UInt8] = [0x89, 0x44, 0x51, 0x53, 0x4C, 0x41, 0x42, 0x0A]
  guard
    bytes.starts(with: magic),
    let version = naiveInteger(bytes, 8, size: 2),
    let flags = naiveInteger(bytes, 10, size: 2),
    let largestPayload = naiveInteger(bytes, 12, size: 4),
    let storedBase = naiveInteger(bytes, 16, size: 8),
    let ordinal = naiveInteger(bytes, 24, size: 8),
    let synced = naiveInteger(bytes, 40, size: 8),
    let kept = naiveInteger(bytes, 48, size: 8),
    let topicID = naiveInteger(bytes, 64, size: 8),
    let storedHash = naiveInteger(bytes, 72, size: 8),
    storedHash == naiveHash(bytes, 0..<72, seed: 0)
  else { return .unsound }
  guard version == 2 else { return .newer("version \(version)") }
  guard flags == 0 else { return .newer("flags \(flags)") }
  guard storedBase == base, topicID != 0 else { return .unsound }
  return .sound(
    NaiveHeader(
      largestPayload: largestPayload, ordinal: ordinal, synced: synced, kept: kept,
      topicID: topicID))
}

// MARK: - Marks

private struct NaiveMark {
  var address: UInt64
  var ordinal: UInt64
  var synced: UInt64
  var kept: UInt64
  var topicID: UInt64

  var end: UInt64 { address + naiveMarkSize }
}

/// M1: the mark at an offset of a slab, if its checksum matches under the topic id that it holds.
///
/// Its address is part of the seed, so the bytes of a moved or copied mark are no mark.
private func naiveMark(in bytes: [UInt8], at offset: Int, base: UInt64) -> NaiveMark? {
  guard
    naiveInteger(bytes, offset, size: 4) == naiveMarkWord,
    let stored = naiveInteger(bytes, offset + 4, size: 4),
    let ordinal = naiveInteger(bytes, offset + 16, size: 8),
    let synced = naiveInteger(bytes, offset + 24, size: 8),
    let kept = naiveInteger(bytes, offset + 32, size: 8),
    let topicID = naiveInteger(bytes, offset + 40, size: 8),
    topicID != 0
  else { return nil }
  let address = base + UInt64(offset)
  let body = (offset + 8)..<(offset + 48)
  guard stored == naiveChecksum(naiveHash(bytes, body, seed: ~(topicID ^ address))) else {
    return nil
  }
  return NaiveMark(address: address, ordinal: ordinal, synced: synced, kept: kept, topicID: topicID)
}

/// R5: the last mark of a slab, of any topic, found at any byte. M5 holds.
private func naiveLastMark(in bytes: [UInt8], base: UInt64) -> NaiveMark? {
  for offset in bytes.indices.reversed() where bytes[offset] == 0xFF {
    if let mark = naiveMark(in: bytes, at: offset, base: base), mark.synced <= mark.end {
      return mark
    }
  }
  return nil
}

// MARK: - Slabs

private struct NaiveSlab {
  var base: UInt64
  var bytes: [UInt8]
  var header: NaiveHeaderLook
  /// R9: the topic's marks in the file, in order, whether they are content or not.
  var marks: [NaiveMark] = []
  /// R7.
  var isVersion1 = false
  /// R15.
  var isPassedOver = false
  /// R13.
  var limit: UInt64?

  var fileEnd: UInt64 { base + UInt64(bytes.count) }

  /// R14.
  var contentEnd: UInt64 { min(fileEnd, limit ?? fileEnd) }

  init(base: UInt64, file: [UInt8]) {
    self.base = base
    // R14: addresses from the end of the epoch on are not this slab's. The last epoch ends at
    // 2^64 - 1 (A7). Cutting here keeps every later sum in range (T6).
    let epochEnd = ((base >> 40) + 1).multipliedReportingOverflow(by: 1 << 40)
    let room = (epochEnd.overflow ? UInt64.max : epochEnd.partialValue) - base
    bytes = UInt64(file.count) <= room ? file : Array(file.prefix(Int(room)))
    header = naiveHeader(of: bytes, base: base)
  }

  /// M2, of whatever topic.
  var firstMark: NaiveMark? { naiveMark(in: bytes, at: Int(naiveHeaderSize), base: base) }

  /// R2: the topic id that the slab states.
  var statedID: UInt64? {
    if case .sound(let header) = header { return header.topicID }
    return firstMark?.topicID
  }
}

private enum NaiveFrame {
  case record(payload: [UInt8], end: UInt64)
  case mark(NaiveMark)
}

// MARK: - Version 1 frames

/// Q3: the two meanings of a version 1 length word: the program's and its documentation's.
private enum NaiveVersion1Length: UInt64, CaseIterable {
  case payload = 0
  case payloadAndChecksum = 4
}

/// Q2, Q4: the payload of a version 1 frame that ends at or below `limit`, an offset in the file.
private func naiveVersion1Payload(
  in bytes: [UInt8], at offset: Int, limit: Int, lengths: NaiveVersion1Length
) -> Range<Int>? {
  guard
    let word = naiveInteger(bytes, offset, size: 4),
    let stored = naiveInteger(bytes, offset + 4, size: 4),
    word >= lengths.rawValue
  else { return nil }
  let start = offset + Int(naiveFrameHeaderSize)
  let size = Int(word - lengths.rawValue)
  guard limit <= bytes.count, start <= limit, size <= limit - start else { return nil }
  let payload = start..<(start + size)
  return stored == naiveHash32(bytes, payload) ? payload : nil
}

/// Q3: the meaning of a slab's length words, by its first frame.
///
/// If both meanings fail, Q3 asks other slabs. But a bad first frame ends the slab under both (Q6,
/// Q7). So the answer changes nothing, and this reader takes any.
private func naiveVersion1Lengths(of bytes: [UInt8]) -> NaiveVersion1Length? {
  NaiveVersion1Length.allCases.first { lengths in
    naiveVersion1Payload(in: bytes, at: 0, limit: bytes.count, lengths: lengths) != nil
  }
}

// MARK: - The topic

private struct NaiveTopic {
  /// R10: a fact that an own header or a mark states at its address.
  struct Statement {
    var address: UInt64
    var synced: UInt64
    var kept: UInt64
    var epoch: UInt64
  }

  var slabs: [NaiveSlab]
  var topicID: UInt64?
  /// R25: the lowest slab that voted for another topic.
  var foreign: UInt64?
  var statements: [Statement] = []

  init(files: [UInt64: [UInt8]]) {
    // R1.
    slabs = files.keys.sorted().map { NaiveSlab(base: $0, file: files[$0] ?? []) }
    settleTopicID()

    // Q1.
    let oldest = slabs.indices.filter { naiveEpoch(slabs[$0].base) == 0 }
    let isVersion1 =
      oldest.allSatisfy { index in
        if case .unsound = slabs[index].header { return slabs[index].firstMark == nil }
        return false
      } && oldest.contains { naiveVersion1Lengths(of: slabs[$0].bytes) != nil }

    for index in slabs.indices {
      // R7.
      if isVersion1, naiveEpoch(slabs[index].base) == 0 {
        slabs[index].isVersion1 = true
        continue
      }
      // R9, R10.
      let slab = slabs[index]
      slabs[index].marks = marks(of: slab)
      if let header = ownHeader(of: slab) {
        statements.append(
          Statement(
            address: slab.base, synced: header.synced, kept: header.kept,
            epoch: naiveEpoch(slab.base)))
      }
      for mark in slabs[index].marks {
        statements.append(
          Statement(
            address: mark.address, synced: mark.synced, kept: mark.kept,
            epoch: naiveEpoch(slab.base)))
      }
    }

    // R9 takes all marks up to the ends of the files. So the limits come after it: R13, R15.
    for index in slabs.indices {
      let base = slabs[index].base
      let next = slabs.map(\.base).first { $0 > base && naiveEpoch($0) == naiveEpoch(base) }
      let bound = bound(ofEpoch: naiveEpoch(base))
      slabs[index].limit = [next, bound].compactMap(\.self).min()
      slabs[index].isPassedOver = bound.map { base >= $0 } ?? false
    }
  }

  /// R3 to R5.
  private mutating func settleTopicID() {
    if let last = slabs.compactMap(\.statedID).last {
      topicID = last
      // R4.
      guard let first = slabs.first?.statedID, first != last else { return }
      let voters = slabs.count > 32 ? Array(slabs.prefix(16) + slabs.suffix(16)) : slabs
      let stated = voters.compactMap(\.statedID)
      let counts = stated.map { id in stated.count { $0 == id } }
      topicID = zip(stated, counts).first { $0.1 == counts.max() }?.0
      foreign = voters.first { $0.statedID != nil && $0.statedID != topicID }?.base
      return
    }
    // R5.
    let isVersion1 = slabs.contains {
      naiveEpoch($0.base) == 0 && naiveVersion1Lengths(of: $0.bytes) != nil
    }
    for slab in slabs.reversed() where !isVersion1 || naiveEpoch(slab.base) > 0 {
      if let mark = naiveLastMark(in: slab.bytes, base: slab.base) {
        topicID = mark.topicID
        return
      }
    }
  }

  /// R8.
  func ownHeader(of slab: NaiveSlab) -> NaiveHeader? {
    guard case .sound(let header) = slab.header, header.topicID == topicID else { return nil }
    return header
  }

  /// R9: the topic's marks in a slab that has no limit yet.
  ///
  /// Bytes inside a valid record are its payload, whatever they look like. Planted frames count
  /// only if the record around them is damaged. So valid frames are stepped over as a whole, and
  /// everywhere else every byte is tried.
  func marks(of slab: NaiveSlab) -> [NaiveMark] {
    var marks: [NaiveMark] = []
    var address = slab.base + (ownHeader(of: slab) == nil ? 0 : naiveHeaderSize)
    while address < slab.contentEnd {
      switch frame(at: address, in: slab) {
      case .record(_, let end):
        address = end
      case .mark(let mark):
        marks.append(mark)
        address = mark.end
      case nil:
        address += 1
      }
    }
    return marks
  }

  // MARK: What belongs to the topic

  /// R12.
  func bound(ofEpoch epoch: UInt64) -> UInt64? {
    statements.filter { $0.epoch > epoch }.map(\.kept).min()
  }

  /// R15: the next slab after the one at an index.
  func next(after index: Int) -> Int? {
    slabs.indices.first { $0 > index && !slabs[$0].isPassedOver }
  }

  /// R11.
  func isProven(_ address: UInt64) -> Bool {
    statements.contains { $0.address > address && $0.synced > address }
  }

  /// D2: the ordinal that a slab begins with.
  func ordinal(of slab: NaiveSlab) -> UInt64? {
    if slab.isVersion1 { return nil }
    if let header = ownHeader(of: slab) { return header.ordinal }
    return slab.firstMark.flatMap { $0.topicID == topicID ? $0.ordinal : nil }
  }

  // MARK: Frames

  /// F6: the valid frame at an address of a version 2 slab.
  func frame(at address: UInt64, in slab: NaiveSlab) -> NaiveFrame? {
    let contentEnd = slab.contentEnd
    guard
      // R6.
      let topicID, address >= slab.base, address < contentEnd,
      case let offset = Int(address - slab.base),
      let word = naiveInteger(slab.bytes, offset, size: 4),
      let stored = naiveInteger(slab.bytes, offset + 4, size: 4)
    else { return nil }
    if word == naiveMarkWord {
      guard
        contentEnd - address >= naiveMarkSize,
        let mark = naiveMark(in: slab.bytes, at: offset, base: slab.base), mark.topicID == topicID
      else { return nil }
      return .mark(mark)
    }
    // F6.1. A damaged header cannot state how large a payload may be.
    let largest = ownHeader(of: slab)?.largestPayload ?? UInt64(slab.bytes.count)
    guard
      // F3, F6.
      word <= naiveLargestLengthWord, word <= largest,
      contentEnd - address >= naiveFrameHeaderSize + word
    else { return nil }
    let start = offset + Int(naiveFrameHeaderSize)
    let payload = start..<(start + Int(word))
    guard stored == naiveChecksum(naiveHash(slab.bytes, payload, seed: topicID ^ address)) else {
      return nil
    }
    return .record(payload: Array(slab.bytes[payload]), end: address + naiveFrameHeaderSize + word)
  }

  // MARK: Damage

  /// How reading goes on after damage.
  struct Resumption {
    var address: UInt64
    /// D7: reading goes on in the next slab.
    var isElsewhere = false
    /// O9, O11: the count there, if it is exact.
    var count: UInt64?
  }

  /// D1 to D7, O9, O11.
  ///
  /// - Parameter count: the reader's, if it is known.
  func resumption(afterDamageAt address: UInt64, in index: Int, count: UInt64?) -> Resumption {
    let slab = slabs[index]
    // D1, D2.
    var goal = slab.contentEnd
    var searchEnd = slab.contentEnd
    var goalOrdinal: UInt64?
    var most: UInt64?
    var isElsewhere = false
    if let mark = slab.marks.first(where: { $0.address > address && $0.end <= searchEnd }) {
      (goal, searchEnd) = (mark.address, mark.address)
      (goalOrdinal, most) = (mark.ordinal, mark.ordinal)
    } else if let limit = slab.limit {
      let later = slabs[(index + 1)...].filter { !$0.isPassedOver }
      goal = min(limit, later.first?.base ?? limit)
      if let next = later.first, next.base == goal || next.base == naiveEpoch(next.base) << 40 {
        goalOrdinal = ordinal(of: next)
      }
      most = later.compactMap { ordinal(of: $0) }.first
      isElsewhere = true
    }
    // D3.
    let highestSynced = statements.map(\.synced).max() ?? 0
    if goal > highestSynced {
      goal = highestSynced
      searchEnd = min(searchEnd, highestSynced)
      goalOrdinal = nil
      isElsewhere = false
    }
    var found: UInt64?
    if let count, let most, most >= count, most - count <= 1 {
      // D4.
      let distances =
        address == slab.base
        ? [naiveHeaderSize + naiveMarkSize] : [naiveMarkSize, 2 * naiveMarkSize]
      let span = searchEnd - min(searchEnd, address)
      found = distances.filter { $0 < span }.map { address + $0 }.first { start in
        if case .record(_, let end) = frame(at: start, in: slab) { end <= searchEnd } else { false }
      }
    } else {
      // D5.
      found = (address..<max(address, searchEnd)).first { start in
        guard start > address, case .record(let payload, let end) = frame(at: start, in: slab)
        else { return false }
        return end == searchEnd
          || end < searchEnd && UInt64(payload.count) <= naiveLongestTriedPayload
      }
    }
    // D6, D7.
    guard let found else {
      return Resumption(
        address: goal, isElsewhere: isElsewhere, count: isElsewhere ? goalOrdinal : nil)
    }
    // O9.
    var records: UInt64 = 0
    var position = found
    while position < searchEnd, case .record(_, let end) = frame(at: position, in: slab) {
      records += 1
      position = end
    }
    guard searchEnd == goal, position == searchEnd, let goalOrdinal, goalOrdinal >= records else {
      return Resumption(address: found)
    }
    return Resumption(address: found, count: goalOrdinal - records)
  }
}

// MARK: - The pass

private struct NaivePass {
  /// How the walk through one slab ended.
  private enum Outcome {
    case goOn(from: UInt64)
    case endOfLog(UInt64)
    case refused(String)
  }

  private let topic: NaiveTopic
  private var events: [NaiveEvent] = []

  /// R17.
  private var count: UInt64 = 0
  private var isKnown = false
  /// O10: whether the count is the log's own, and not merely the least that it can be.
  private var isExact = false
  /// O4: the open loss, and the number of O5.
  private var open: (from: UInt64, to: UInt64, counted: UInt64)?
  /// O2: the way since the last met ordinal.
  private var way: (from: UInt64, missesSlabs: Bool)?
  /// The last frame if it was a closing mark (M3): the index of its slab, and its end.
  private var closing: (slab: Int, end: UInt64)?

  init(topic: NaiveTopic) {
    self.topic = topic
  }

  mutating func run() -> NaiveResult {
    // R16.
    guard var index = topic.next(after: -1) else { return finish(end: 0, refused: nil) }
    let first = topic.slabs[index]
    var address = first.base
    // R17.
    if first.base == 0 {
      isKnown = true
    } else if let header = topic.ownHeader(of: first) {
      (count, isKnown) = (header.ordinal, true)
    }
    isExact = isKnown

    while true {
      let outcome =
        topic.slabs[index].isVersion1 ? walkVersion1(index) : walk(index, from: address)
      switch outcome {
      case .goOn(let left):
        // R19.
        guard let next = topic.next(after: index) else { return finish(end: left, refused: nil) }
        index = next
        address = left
      case .endOfLog(let end):
        return finish(end: end, refused: nil)
      case .refused(let reason):
        return NaiveResult(
          events: events, end: topic.slabs[index].base, isClean: false, refused: reason)
      }
    }
  }

  private mutating func finish(end: UInt64, refused: String?) -> NaiveResult {
    // O12.
    if let open { lose(.damaged, from: open.from, to: open.to, records: nil) }
    // R25.
    let refused = topic.foreign.map { "slab \($0): belongs to another topic" }
    var isClean = false
    if refused == nil, let closing, let last = topic.slabs.last {
      // R26.
      isClean =
        closing.end == end && closing.slab == topic.slabs.indices.last && last.fileEnd == end
    }
    return NaiveResult(events: events, end: end, isClean: isClean, refused: refused)
  }

  // MARK: One slab

  /// Walks a version 2 slab.
  ///
  /// - Parameter left: the address at which the slab before it was left.
  private mutating func walk(_ index: Int, from left: UInt64) -> Outcome {
    let slab = topic.slabs[index]
    let contentEnd = slab.contentEnd
    var address = slab.base
    // O2.
    if left < address {
      let missesSlabs = address != naiveEpoch(address) << 40
      if way == nil || missesSlabs && way?.missesSlabs == false { way = (left, missesSlabs) }
    }

    // F7, R22. If the header is not sound, the loop below finds no frame at the base (R23).
    if contentEnd - slab.base >= naiveHeaderSize {
      switch slab.header {
      case .newer(let what):
        return .refused("slab \(slab.base): unsupported \(what)")
      case .sound(let header) where header.topicID != topic.topicID:
        return .refused("slab \(slab.base): belongs to topic \(header.topicID)")
      case .sound(let header):
        closing = nil
        meet(header.ordinal, at: slab.base)
        address = slab.base + naiveHeaderSize
      case .unsound:
        break
      }
    }

    // R18.
    while true {
      if address > slab.base, let frame = topic.frame(at: address, in: slab) {
        switch frame {
        case .record(let payload, let end):
          closing = nil
          deliver(address, payload)
          address = end
        case .mark(let mark):
          // M3, R21.
          closing = mark.synced == mark.end ? (index, mark.end) : nil
          meet(mark.ordinal, at: address)
          address = mark.end
        }
        continue
      }
      if address == slab.limit { return .goOn(from: address) }
      guard topic.isProven(address) else { return .endOfLog(address) }
      // Damage.
      let resumption = topic.resumption(
        afterDamageAt: address, in: index, count: isKnown ? count : nil)
      // D6.
      guard resumption.address > address else { return .endOfLog(address) }
      closing = nil
      damage(from: address, resumption)
      if resumption.isElsewhere { return .goOn(from: resumption.address) }
      address = resumption.address
    }
  }

  /// Q5 to Q7: walks a version 1 slab.
  private mutating func walkVersion1(_ index: Int) -> Outcome {
    let slab = topic.slabs[index]
    let limit = Int(slab.contentEnd - slab.base)
    let lengths = naiveVersion1Lengths(of: slab.bytes) ?? .payload
    var offset = 0
    while let payload = naiveVersion1Payload(
      in: slab.bytes, at: offset, limit: limit, lengths: lengths)
    {
      deliver(slab.base + UInt64(offset), Array(slab.bytes[payload]))
      offset = payload.upperBound
    }
    let address = slab.base + UInt64(offset)
    if address == slab.limit { return .goOn(from: address) }
    // Q6.
    guard let end = slab.limit else { return .endOfLog(address) }
    // Q7. If only a later epoch gives the limit, there are slabs before that.
    let to = min(end, topic.next(after: index).map { topic.slabs[$0].base } ?? .max)
    lose(.damaged, from: address, to: to, records: nil)
    isKnown = false
    isExact = false
    return .goOn(from: to)
  }

  // MARK: Counting

  /// R20.
  private mutating func deliver(_ address: UInt64, _ payload: [UInt8]) {
    let ordinal = isExact ? count : nil
    events.append(.record(NaiveRecord(address: address, ordinal: ordinal, payload: payload)))
    count &+= 1
    open?.counted &+= 1
  }

  private mutating func lose(
    _ cause: NaiveLoss.Cause, from: UInt64, to: UInt64, records: UInt64?
  ) {
    events.append(.loss(NaiveLoss(cause: cause, from: from, to: to, records: records)))
  }

  /// D8, O4.
  private mutating func damage(from: UInt64, _ resumption: NaiveTopic.Resumption) {
    open = (open?.from ?? from, resumption.address, open?.counted ?? count)
    // O9, O11.
    count = resumption.count ?? count
    isExact = resumption.count != nil
  }

  /// O3: meets the ordinal that a header or mark at an address states.
  private mutating func meet(_ ordinal: UInt64, at address: UInt64) {
    let counted = isKnown ? open?.counted ?? count : nil
    let left = way?.from ?? address
    if let counted, ordinal < counted {
      // O3.1, O7.
      if let open { lose(.damaged, from: open.from, to: open.to, records: nil) }
      let bound = way.flatMap { topic.bound(ofEpoch: naiveEpoch($0.from)) } ?? left
      lose(.discarded, from: min(bound, left), to: left, records: counted - ordinal)
    } else if let open {
      // O3.2, O6.
      let isWider = way?.missesSlabs ?? false
      lose(
        .damaged, from: isWider ? min(open.from, left) : open.from,
        to: isWider ? max(open.to, address) : open.to, records: counted.map { ordinal - $0 })
    } else if let counted, ordinal > counted {
      // O3.3.
      lose(.damaged, from: left, to: address, records: ordinal - counted)
    }
    count = ordinal
    isKnown = true
    isExact = true
    open = nil
    way = nil
  }
}
