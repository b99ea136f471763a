// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Cuts a stream of bytes into records. Holds one chunk, or one record if that is longer.
struct RecordInput: ~Copyable {
  enum Framing: Equatable {
    /// A record ends before this byte, or at the end of the input.
    case delimiter(UInt8)
    /// Each record follows its length, a u32 in little-endian order.
    case lengthPrefixed
    /// The whole input is one record.
    case whole
  }

  private static let chunk = 1 << 18
  private static let prefixBytes = 4

  private let descriptor: Int32
  /// The path, or "standard input".
  let name: String
  /// Whether the input has no end of its own, like a pipe or a terminal. A stop is then its end.
  let isEndless: Bool
  private let framing: Framing
  private let maximumPayload: Int
  private let stop: StopSignals

  private var memory: UnsafeMutableRawBufferPointer
  /// The range of bytes in `memory` that were read and not taken.
  private var held = 0..<0
  /// The end of the bytes in `memory` that were searched for a delimiter.
  private var searched = 0
  /// How many bytes of the input were taken.
  private(set) var taken: UInt64 = 0
  /// The byte of the input at which the last taken record starts.
  private var lastStart: UInt64 = 0
  /// How many records were taken.
  private(set) var records: UInt64 = 0
  private var isWholeTaken = false

  /// Whether the input has ended. The held bytes may still be a record.
  private(set) var isAtEnd = false
  /// Whether a stop was asked for. The held bytes may be half a record, so they are not taken.
  private(set) var isStopped = false

  /// Opens a file, or standard input for `-`.
  init(
    path: String, framing: Framing, maximumPayload: Int, stop: StopSignals
  ) throws(Failure) {
    descriptor = path == "-" ? System.standardInput : try System.openForReading(path)
    name = path == "-" ? "standard input" : path
    isEndless = !System.isPlainFile(descriptor)
    self.framing = framing
    self.maximumPayload = maximumPayload
    self.stop = stop
    memory = .allocate(byteCount: Self.chunk, alignment: 64)
  }

  deinit {
    memory.deallocate()
    if descriptor != System.standardInput { System.closeFile(descriptor) }
  }

  // MARK: Taking records

  /// The payload of the next record among the held bytes, valid until the next call. Returns nil if
  /// more bytes must be read first, or if there is no more record.
  mutating func next() throws(Failure) -> UnsafeRawBufferPointer? {
    switch framing {
    case .delimiter(let byte): try nextDelimited(byte)
    case .lengthPrefixed: try nextPrefixed()
    case .whole: try nextWhole()
    }
  }

  private mutating func nextDelimited(_ byte: UInt8) throws(Failure) -> UnsafeRawBufferPointer? {
    let unsearched = UnsafeRawBufferPointer(rebasing: memory[searched..<held.upperBound])
    if let index = System.firstIndex(of: byte, in: unsearched) {
      let end = searched + index
      try checkLength(end - held.lowerBound)
      return take(held.lowerBound..<end, skipping: 1)
    }
    searched = held.upperBound
    try checkLength(held.count)
    // A last record without a delimiter is a record too, unless a stop cut it off.
    guard isAtEnd, !isStopped, !held.isEmpty else { return nil }
    return take(held, skipping: 0)
  }

  private mutating func nextPrefixed() throws(Failure) -> UnsafeRawBufferPointer? {
    let prefix = Self.prefixBytes
    if held.count >= prefix {
      let word = memory.loadUnaligned(fromByteOffset: held.lowerBound, as: UInt32.self)
      let length = Int(UInt32(littleEndian: word))
      try checkLength(length)
      if held.count - prefix >= length {
        let start = held.lowerBound + prefix
        return take(start..<start + length, skipping: 0)
      }
    }
    guard isAtEnd, !isStopped, !held.isEmpty else { return nil }
    throw Failure(
      "the input ends inside \(place): it is not length-prefixed, or was cut off", path: name)
  }

  private mutating func nextWhole() throws(Failure) -> UnsafeRawBufferPointer? {
    try checkLength(held.count)
    guard isAtEnd, !isStopped, !isWholeTaken else { return nil }
    isWholeTaken = true
    return take(held, skipping: 0)
  }

  private mutating func take(_ payload: Range<Int>, skipping: Int) -> UnsafeRawBufferPointer {
    let end = payload.upperBound + skipping
    lastStart = taken
    taken += UInt64(end - held.lowerBound)
    records += 1
    held = end..<held.upperBound
    searched = end
    return UnsafeRawBufferPointer(rebasing: memory[payload])
  }

  private func checkLength(_ count: Int) throws(Failure) {
    guard count > maximumPayload else { return }
    throw Failure(
      "\(place) is longer than the largest payload of \(maximumPayload) bytes: raise"
        + " --maximum-payload, or check how the input is divided into records",
      path: name)
  }

  /// The name of the next record, for messages.
  private var place: String { "record \(records + 1), which starts at byte \(taken)," }

  /// The name of the last record in its input: its line, if records are lines.
  var lastRecord: String {
    switch framing {
    case .delimiter(UInt8(ascii: "\n")): "line \(records)"
    case .delimiter, .lengthPrefixed: "record \(records), which starts at byte \(lastStart),"
    case .whole: "the input"
    }
  }

  /// The name of the last record, for messages.
  var lastPlace: String { "record \(records) of \(name), which starts at byte \(lastStart)," }

  // MARK: Reading

  /// Whether more can be read without waiting.
  var isReady: Bool {
    System.wait(for: descriptor, orFor: nil, milliseconds: 0).isReady
  }

  /// Reads more. Waits until there is more, or until a stop is asked for.
  mutating func fill() throws(Failure) {
    makeRoom()
    while true {
      let readiness = System.wait(
        for: descriptor, orFor: stop.descriptor, milliseconds: -1)
      guard !readiness.otherIsReady else {
        isAtEnd = true
        isStopped = true
        return
      }
      let room = UnsafeMutableRawBufferPointer(rebasing: memory[held.upperBound...])
      guard let count = try System.read(descriptor, into: room, name: name) else { continue }
      isAtEnd = count == 0
      held = held.lowerBound..<held.upperBound + count
      return
    }
  }

  /// Moves the held bytes to the front. If they fill the memory, doubles it.
  private mutating func makeRoom() {
    let source = UnsafeRawBufferPointer(rebasing: memory[held])
    if held.count < memory.count {
      memory.copyMemory(from: source)
    } else {
      // The largest payload bounds the size, because a longer record was refused before.
      let larger = UnsafeMutableRawBufferPointer.allocate(
        byteCount: memory.count * 2, alignment: 64)
      larger.copyMemory(from: source)
      memory.deallocate()
      memory = larger
    }
    searched -= held.lowerBound
    held = 0..<held.count
  }
}
