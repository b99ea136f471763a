import CXXHash

// MARK: - What a pass gives

/// A record, where it stands, and its place in the log where the rules determine it exactly.
public struct NaiveRecord: Hashable, Sendable {
  public var address: UInt64
  public var ordinal: UInt64?
  public var payload: [UInt8]
}

/// A stretch of the log that could not be read, or records that turned out not to count.
public struct NaiveLoss: Hashable, Sendable {
  /// Why records are missing, or why some were given that the log does not count.
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
  /// The address where the log ends, or where reading stopped.
  public var end: UInt64
  /// Whether a writer would find the topic cleanly closed.
  public var isClean: Bool
  /// Why a slab was refused, if one was.
  public var refused: String?

  public var records: [NaiveRecord] {
    events.compactMap { if case .record(let record) = $0 { record } else { nil } }
  }
}

/// Reads a quiet topic from its earliest record to the end of its log: the tests' second reader.
///
/// The library's reader is quick: it buffers, seeks, follows a writer and remembers what it saw.
/// This one was written from the page that describes the format alone and shares no line or
/// constant with the library, so that a misreading of the page by one of them shows as a difference
/// between the two, instead of being tested against itself. It holds all files in memory, looks for
/// all marks before it reads the first record, and prefers the obvious to the fast.
///
/// Nobody writes to the directory meanwhile, so a second look would show what the first one did,
/// and the rules that ask for one are not here.
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

/// The little-endian integer of `size` bytes at `offset`, or nil where the bytes are not all there.
private func naiveInteger(_ bytes: [UInt8], _ offset: Int, size: Int) -> UInt64? {
  guard offset >= 0, offset <= bytes.count, size <= bytes.count - offset else { return nil }
  var value: UInt64 = 0
  for index in 0..<size {
    value |= UInt64(bytes[offset + index]) << UInt64(8 * index)
  }
  return value
}

/// XXH3-64 of a range of bytes that is known to be there.
private func naiveHash(_ bytes: [UInt8], _ range: Range<Int>, seed: UInt64) -> UInt64 {
  bytes[range].withUnsafeBytes { XXH3_64bits_withSeed($0.baseAddress, $0.count, seed) }
}

/// XXH32 of a range of bytes that is known to be there, as queuefka used it.
private func naiveHash32(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
  bytes[range].withUnsafeBytes { UInt64(XXH32($0.baseAddress, $0.count, 0)) }
}

/// What a frame stores of a hash: its low half, and never 0, so that zeros are never a frame.
private func naiveChecksum(_ hash: UInt64) -> UInt64 {
  let low = hash & 0xFFFF_FFFF
  return low == 0 ? 1 : low
}

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
  case sound(NaiveHeader)
  case unsound
  /// Whole, but made by rules this reader does not know.
  case unknown(String)
}

/// Looks at the header of the slab named `base`, without asking whose topic it belongs to.
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
    storedHash == naiveHash(bytes, 0..<72, seed: 0),
    storedBase == base
  else { return .unsound }
  guard version == 2 else { return .unknown("version \(version)") }
  guard flags == 0 else { return .unknown("flags \(flags)") }
  guard topicID != 0 else { return .unsound }
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

/// The mark at an offset of a slab, sound by the topic id that it carries itself.
///
/// Its address is part of what was hashed, so a mark that was moved or copied is none.
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

/// Whatever passes for a mark at any byte of a slab, whoever's it is.
private func naiveMarks(in bytes: [UInt8], base: UInt64) -> [NaiveMark] {
  bytes.indices.compactMap { offset in
    bytes[offset] == 0xFF ? naiveMark(in: bytes, at: offset, base: base) : nil
  }
}

// MARK: - Slabs

private struct NaiveSlab {
  var base: UInt64
  var bytes: [UInt8]
  var header: NaiveHeaderLook
  /// The topic's marks in the file, in order, content or not.
  var marks: [NaiveMark] = []
  /// Whether the slab is queuefka's.
  var isVersion1 = false
  /// Whether all of it lies where a later epoch says that the log had ended.
  var isPassedOver = false
  /// Where it should end: at the next of its epoch, or where a later epoch cut the log; nil where
  /// nothing bounds it but its file.
  var intendedEnd: UInt64?

  var fileEnd: UInt64 { base + UInt64(bytes.count) }

  /// Where the content ends: as intended, or earlier if the file is too short.
  var contentEnd: UInt64 { min(fileEnd, intendedEnd ?? fileEnd) }

  init(base: UInt64, file: [UInt8]) {
    self.base = base
    // Addresses from the next epoch on are not this slab's, and end at 2^64 - 1; cutting here keeps
    // every later sum in range.
    let epochEnd = ((base >> 40) + 1).multipliedReportingOverflow(by: 1 << 40)
    let room = (epochEnd.overflow ? UInt64.max : epochEnd.partialValue) - base
    bytes = UInt64(file.count) <= room ? file : Array(file.prefix(Int(room)))
    header = naiveHeader(of: bytes, base: base)
  }

  /// The mark that a writer puts directly behind the header, whoever's it is.
  var firstMark: NaiveMark? { naiveMark(in: bytes, at: Int(naiveHeaderSize), base: base) }
}

private enum NaiveFrame {
  case record(payload: [UInt8], end: UInt64)
  case mark(NaiveMark)
}

// MARK: - Version 1 frames

/// The two meanings a version 1 length word can have: the program's and its documentation's.
private enum NaiveVersion1Length: UInt64, CaseIterable {
  case payload = 0
  case payloadAndChecksum = 4
}

/// The payload of a version 1 frame that ends at or below `limit`, an offset in the file.
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

/// What the length words of a slab mean: its first frame passes in one reading or the other.
///
/// Where it passes in neither, the page asks the neighbours. But a bad first frame ends the slab
/// in either reading, so the answer changes nothing, and any will do.
private func naiveVersion1Lengths(of bytes: [UInt8]) -> NaiveVersion1Length? {
  NaiveVersion1Length.allCases.first { lengths in
    naiveVersion1Payload(in: bytes, at: 0, limit: bytes.count, lengths: lengths) != nil
  }
}

// MARK: - The topic

private struct NaiveTopic {
  /// Something a sound header or a valid mark says, true wherever it stands.
  struct Statement {
    var address: UInt64
    var synced: UInt64
    var kept: UInt64
    var epoch: UInt64
  }

  var slabs: [NaiveSlab]
  var topicID: UInt64?
  var statements: [Statement] = []

  init(files: [UInt64: [UInt8]]) {
    slabs = files.keys.sorted().map { NaiveSlab(base: $0, file: files[$0] ?? []) }
    topicID = Self.lastTopicID(slabs)

    // Epoch 0 is queuefka's as a whole if nothing of version 2 is in it and one slab at least
    // begins as queuefka's do.
    let oldest = slabs.indices.filter { naiveEpoch(slabs[$0].base) == 0 }
    let isVersion1 =
      oldest.allSatisfy { index in
        if case .sound = slabs[index].header { return false }
        return slabs[index].firstMark == nil
      } && oldest.contains { naiveVersion1Lengths(of: slabs[$0].bytes) != nil }

    for index in slabs.indices {
      if isVersion1, naiveEpoch(slabs[index].base) == 0 {
        slabs[index].isVersion1 = true
        continue
      }
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

    // Only now, when all marks were found up to the ends of the files, the content gets its ends.
    for index in slabs.indices {
      let base = slabs[index].base
      let next = slabs.map(\.base).first { $0 > base && naiveEpoch($0) == naiveEpoch(base) }
      let kept = kept(behind: naiveEpoch(base))
      slabs[index].intendedEnd = [next, kept].compactMap(\.self).min()
      slabs[index].isPassedOver = kept.map { base >= $0 } ?? false
    }
  }

  /// The id of the last slab that says whose it is.
  ///
  /// A header, or else the mark behind it, speaks for its slab. Marks deeper inside are asked only
  /// when no slab has either, because any payload might contain what looks like one with an id of
  /// its author's choice.
  static func lastTopicID(_ slabs: [NaiveSlab]) -> UInt64? {
    for slab in slabs.reversed() {
      if case .sound(let header) = slab.header { return header.topicID }
      if let mark = slab.firstMark { return mark.topicID }
    }
    for slab in slabs.reversed() {
      if let mark = naiveMarks(in: slab.bytes, base: slab.base).last { return mark.topicID }
    }
    return nil
  }

  /// The slab's header if it is sound and the topic's own.
  func ownHeader(of slab: NaiveSlab) -> NaiveHeader? {
    guard case .sound(let header) = slab.header, header.topicID == topicID else { return nil }
    return header
  }

  /// The topic's marks in a slab whose content has no other end yet than its file's.
  ///
  /// What lies inside a sound record is its payload, whatever it looks like: planted frames count
  /// only where the record around them is damaged. So sound frames are stepped over as a whole,
  /// and everywhere else every byte is tried.
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

  /// Where the records before some epoch behind this one end; the lowest of all that is stated.
  func kept(behind epoch: UInt64) -> UInt64? {
    statements.filter { $0.epoch > epoch }.map(\.kept).min()
  }

  /// The slab that is read after the one at an index: the first behind it not passed over.
  func next(after index: Int) -> Int? {
    slabs.indices.first { $0 > index && !slabs[$0].isPassedOver }
  }

  /// Whether something written later states that all of the log up to behind `address` was safe.
  func isProven(_ address: UInt64) -> Bool {
    statements.contains { $0.address > address && $0.synced > address }
  }

  /// How many records the log took before the next slab that can tell.
  func nextReadableOrdinal(after index: Int) -> UInt64? {
    var current = index
    while let next = next(after: current) {
      let slab = slabs[next]
      if let header = ownHeader(of: slab) { return header.ordinal }
      if let mark = slab.firstMark, !slab.isVersion1, mark.topicID == topicID {
        return mark.ordinal
      }
      current = next
    }
    return nil
  }

  // MARK: Frames

  /// The valid frame at an address of a version 2 slab.
  func frame(at address: UInt64, in slab: NaiveSlab) -> NaiveFrame? {
    let contentEnd = slab.contentEnd
    guard
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
    // A damaged header cannot say how large a payload may be; the file's size bounds it then.
    let largest = ownHeader(of: slab)?.largestPayload ?? UInt64(slab.bytes.count)
    guard
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

  /// Where reading goes on after damage at `address`: at a frame of the slab or at its end.
  ///
  /// `ordinal` is the reader's own, where it has one.
  func resumption(
    afterDamageAt address: UInt64, in index: Int, ordinal: UInt64?
  ) -> (address: UInt64, isContentEnd: Bool) {
    let slab = slabs[index]
    let contentEnd = slab.contentEnd
    let mark = slab.marks.first { $0.address > address && $0.end <= contentEnd }
    // The end of the content serves as a mark, and the slab behind it as the mark's ordinal. Nothing
    // is looked for behind the last address that anything states to have been safe.
    let safe = statements.map(\.synced).max() ?? 0
    let goal = min(mark?.address ?? contentEnd, safe)
    let goalOrdinal = mark.map(\.ordinal) ?? nextReadableOrdinal(after: index)

    if let ordinal, let goalOrdinal, goalOrdinal >= ordinal, goalOrdinal - ordinal <= 1 {
      // At most one record can stand here. If it is whole, only one or two marks before it were
      // hit; otherwise it was hit itself, and nothing is left before the goal.
      // At a slab's base these are the header and the first mark.
      let distances =
        address == slab.base
        ? [naiveHeaderSize + naiveMarkSize] : [naiveMarkSize, 2 * naiveMarkSize]
      for distance in distances where distance < goal - address {
        if frame(at: address + distance, in: slab) != nil { return (address + distance, false) }
      }
    } else {
      // Several records stand here, or nobody knows: the first byte at which one is valid. It may
      // not reach over the goal, and a large one has the goal directly behind it.
      for start in address..<goal where start > address {
        guard case .record(let payload, let end) = frame(at: start, in: slab) else { continue }
        if end == goal || end < goal && UInt64(payload.count) <= naiveLongestTriedPayload {
          return (start, false)
        }
      }
    }
    if safe < mark?.address ?? slab.intendedEnd ?? contentEnd { return (safe, false) }
    return (goal, mark == nil)
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

  /// The last known ordinal and the records delivered since: what this reader counts.
  private var count: UInt64?
  /// Whether the count is the log's own, unless a stretch is open: false once version 1 damage hid
  /// an unknown number of records, until an ordinal is met.
  private var isExact = true
  /// The damage since the last known ordinal: first address, and where the last of it ended.
  private var stretch: (from: UInt64, to: UInt64)?
  /// The events with records since the last damage, which the next known ordinal will number.
  private var unnumbered: [Int] = []
  /// The last frame if it was a mark that states its own end to be synced: index of slab, and end.
  private var closing: (slab: Int, end: UInt64)?

  init(topic: NaiveTopic) {
    self.topic = topic
  }

  mutating func run() -> NaiveResult {
    // The earliest record is in the first slab that is not passed over.
    guard var index = topic.next(after: -1) else {
      return NaiveResult(events: [], end: 0, isClean: false, refused: nil)
    }
    let first = topic.slabs[index]
    var address = first.base
    if let header = topic.ownHeader(of: first) {
      count = header.ordinal
    } else if first.base == 0 {
      count = 0
    }

    while true {
      let outcome =
        topic.slabs[index].isVersion1 ? walkVersion1(index) : walk(index, from: address)
      switch outcome {
      case .goOn(let left):
        guard let next = topic.next(after: index) else { return finish(end: left, refused: nil) }
        index = next
        address = left
      case .endOfLog(let end):
        return finish(end: end, refused: nil)
      case .refused(let reason):
        return finish(end: topic.slabs[index].base, refused: reason)
      }
    }
  }

  /// A stretch that no ordinal ended is a tail: how much was in it stays unknown.
  private mutating func finish(end: UInt64, refused: String?) -> NaiveResult {
    if let stretch { lose(.damaged, from: stretch.from, to: stretch.to, records: nil) }
    var isClean = false
    if refused == nil, let closing, let last = topic.slabs.last {
      // Clean: the log ends with a closing mark, the file ends with it, and no file is behind.
      isClean =
        closing.end == end && closing.slab == topic.slabs.indices.last && last.fileEnd == end
    }
    return NaiveResult(events: events, end: end, isClean: isClean, refused: refused)
  }

  // MARK: One slab

  /// Walks a version 2 slab; `left` is the address at which the slab before it was left.
  private mutating func walk(_ index: Int, from left: UInt64) -> Outcome {
    let slab = topic.slabs[index]
    let contentEnd = slab.contentEnd
    let intendedEnd = slab.intendedEnd
    var address = slab.base

    // The header is the frame at the base. If it is not sound, the loop below finds no frame
    // there, because the only thing a base can hold is a header.
    switch slab.header {
    case .unknown(let what):
      return .refused("slab \(slab.base): unsupported \(what)")
    case .sound(let header) where header.topicID != topic.topicID:
      return .refused("slab \(slab.base): belongs to topic \(header.topicID)")
    case .sound(let header) where contentEnd - slab.base >= naiveHeaderSize:
      closing = nil
      meet(header.ordinal, at: slab.base, from: left)
      address = slab.base + naiveHeaderSize
    case .sound, .unsound:
      break
    }

    while true {
      if address > slab.base, let frame = topic.frame(at: address, in: slab) {
        switch frame {
        case .record(let payload, let end):
          closing = nil
          deliver(address, payload, numberLater: true)
          address = end
        case .mark(let mark):
          closing = mark.synced == mark.end ? (index, mark.end) : nil
          meet(mark.ordinal, at: address, from: address)
          address = mark.end
        }
        continue
      }
      // The slab's intended end is a border of the log: nothing is lost by crossing it.
      if address == intendedEnd { return .goOn(from: address) }
      // Nothing says that more was durable: the log ends here, whatever lies behind.
      guard topic.isProven(address) else { return .endOfLog(address) }
      // Damage.
      closing = nil
      let resumption = topic.resumption(afterDamageAt: address, in: index, ordinal: count)
      guard resumption.isContentEnd else {
        damage(from: address, to: resumption.address)
        address = resumption.address
        continue
      }
      guard let intendedEnd else {
        // Only what hangs over from an earlier file can prove this: nothing is behind to go to.
        if address < contentEnd { damage(from: address, to: contentEnd) }
        return .endOfLog(contentEnd)
      }
      damage(from: address, to: intendedEnd)
      return .goOn(from: intendedEnd)
    }
  }

  /// Walks a slab of queuefka's, which has neither header nor marks.
  private mutating func walkVersion1(_ index: Int) -> Outcome {
    let slab = topic.slabs[index]
    let limit = Int(slab.contentEnd - slab.base)
    let intendedEnd = slab.intendedEnd
    let lengths = naiveVersion1Lengths(of: slab.bytes) ?? .payload
    var offset = 0
    while let payload = naiveVersion1Payload(
      in: slab.bytes, at: offset, limit: limit, lengths: lengths)
    {
      deliver(slab.base + UInt64(offset), Array(slab.bytes[payload]), numberLater: false)
      offset = payload.upperBound
    }
    // No valid frame, or the end of the content.
    let address = slab.base + UInt64(offset)
    if address == intendedEnd { return .goOn(from: address) }
    // A bad frame ends the slab. Before another of queuefka's the rest is damage; in the last one
    // it is a torn tail, unless a version 2 epoch states that the log had gone on.
    let isLast = topic.next(after: index).map { !topic.slabs[$0].isVersion1 } ?? true
    guard let intendedEnd, !isLast || topic.isProven(address) else { return .endOfLog(address) }
    // Where only a later epoch says where it had ended, there are slabs before that.
    let end = min(intendedEnd, topic.next(after: index).map { topic.slabs[$0].base } ?? .max)
    lose(.damaged, from: address, to: end, records: nil)
    isExact = false
    return .goOn(from: end)
  }

  // MARK: Counting

  private mutating func deliver(_ address: UInt64, _ payload: [UInt8], numberLater: Bool) {
    let ordinal = isExact && stretch == nil ? count : nil
    // Ordinals of version 1 records are known while they can be counted from the start, or never.
    if ordinal == nil, numberLater { unnumbered.append(events.count) }
    events.append(.record(NaiveRecord(address: address, ordinal: ordinal, payload: payload)))
    if let count { self.count = count &+ 1 }
  }

  private mutating func lose(
    _ cause: NaiveLoss.Cause, from: UInt64, to: UInt64, records: UInt64?
  ) {
    events.append(.loss(NaiveLoss(cause: cause, from: from, to: to, records: records)))
  }

  /// All damage between two known ordinals is one stretch.
  private mutating func damage(from: UInt64, to: UInt64) {
    stretch = (stretch?.from ?? from, to)
    unnumbered = []
  }

  /// Meets a header or mark at `address` that says how many records the log took before it.
  ///
  /// The reader comes `from` the end of the last frame, which is somewhere else only if it crossed
  /// from one slab to the next.
  private mutating func meet(_ ordinal: UInt64, at address: UInt64, from: UInt64) {
    // Records since the last damage are counted back from here.
    for (distance, event) in unnumbered.reversed().enumerated() {
      guard case .record(var record) = events[event] else { continue }
      let (number, underflow) = ordinal.subtractingReportingOverflow(UInt64(distance) + 1)
      record.ordinal = underflow ? nil : number
      events[event] = .record(record)
    }
    let known = isExact ? count : nil
    if let stretch {
      let missing = known.flatMap { ordinal >= $0 ? ordinal - $0 : nil }
      // Slabs that are gone on the way are part of it; the gap before an epoch's first one is none.
      let leavesOut = from < address && address != naiveEpoch(address) << 40
      lose(
        .damaged, from: stretch.from, to: leavesOut ? address : stretch.to, records: missing)
    } else if let known, ordinal > known {
      // A gap without damage, as where the first slab of an epoch is gone. It was not cleaned:
      // in a quiet directory the pass began at the first slab.
      lose(.damaged, from: from, to: address, records: ordinal - known)
    }
    if let known, ordinal < known {
      lose(.discarded, from: from, to: address, records: known - ordinal)
    }
    count = ordinal
    isExact = true
    stretch = nil
    unnumbered = []
  }
}
