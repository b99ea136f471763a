// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A file in memory.
final class MemoryFile: StorageFile {
  private let bytes: Mutex<MemoryBytes>
  private let watchers: Watchers
  private let source: MemorySource
  private let number = MemoryFile.made.add(1, ordering: .relaxed).newValue

  /// How many files have been made.
  private static let made = Atomic<UInt64>(0)

  init(_ budget: MemoryBudget, _ watchers: Watchers, _ source: MemorySource) {
    bytes = Mutex(MemoryBytes(budget))
    self.watchers = watchers
    self.source = source
  }

  func read(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    let count = unsafe readHere(into: target, at: offset)
    guard count < target.count, let writer = source.current else { return count }
    writer.handOver()
    return unsafe readHere(into: target, at: offset)
  }

  /// Reads a block at a time, so that a writer waits for the copy of one block at most.
  private func readHere(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
    guard let start = Int(exactly: offset) else { return 0 }
    var count = 0
    while count < target.count {
      // Safe: a part of the caller's buffer.
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[count...])
      let (place, overflow) = start.addingReportingOverflow(count)
      let read = overflow ? 0 : bytes.withLock { unsafe $0.read(into: rest, at: place) }
      guard read > 0 else { break }
      count += read
    }
    return count
  }

  func write(_ source: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
    guard let start = Int(exactly: offset) else {
      throw SystemError(errno: Errno.noSpace, call: "pwrite")
    }
    let count = bytes.withLock { $0.write(source, at: start) }
    guard count > 0 else { throw SystemError(errno: Errno.noSpace, call: "pwrite") }
    watchers.notify()
    return count
  }

  func sync() throws(SystemError) {}

  func truncate(to count: UInt64) throws(SystemError) {
    bytes.withLock { $0.truncate(to: Int(clamping: count)) }
  }

  func size() throws(SystemError) -> UInt64 {
    source.current?.handOver()
    return UInt64(bytes.withLock { $0.count })
  }

  func identity() -> FileIdentity { FileIdentity(device: 0, node: number) }

  func reserve(_ count: UInt64, at offset: UInt64) -> Bool { false }

  func dropCache() {}
}

/// How many bytes all files of a topic may hold together, and the blocks that its files no longer
/// use. A topic at its bound writes into memory that it had before.
final class MemoryBudget: Sendable {
  private struct State {
    var left: Int
    var blocks: [MemoryBlock] = []
  }
  private let state: Mutex<State>

  init(capacity: Int) { state = Mutex(State(left: capacity)) }

  /// Takes `count` bytes, or as many as there are.
  func take(_ count: Int) -> Int {
    state.withLock { state in
      let taken = min(count, max(state.left, 0))
      state.left -= taken
      return taken
    }
  }

  func giveBack(_ count: Int) { state.withLock { $0.left += count } }

  fileprivate func block(_ size: Int) -> MemoryBlock {
    if size == MemoryBlock.mostBytes, let block = state.withLock({ $0.blocks.popLast() }) {
      return block
    }
    return MemoryBlock(size)
  }

  fileprivate func giveBack(_ blocks: some Sequence<MemoryBlock>) {
    state.withLock { state in
      state.blocks.append(contentsOf: blocks.lazy.filter { $0.size == MemoryBlock.mostBytes })
    }
  }
}

/// A piece of memory.
// Sendable: one file at a time has it, and uses it under its lock.
@safe
private final class MemoryBlock: @unchecked Sendable {
  /// The size of a file's first block. Each further block is as large as all before it, up to
  /// `mostBytes`.
  static let leastBytes = 4 << 10
  static let mostBytes = 64 << 10

  let memory: UnsafeMutableRawBufferPointer
  var size: Int { unsafe memory.count }

  init(_ size: Int) { unsafe memory = .allocate(byteCount: size, alignment: 64) }

  deinit { unsafe memory.deallocate() }
}

/// Bytes in blocks: they grow without being moved, and take at most twice their size.
private struct MemoryBytes: ~Copyable {
  private(set) var count = 0
  private var blocks: [MemoryBlock] = []
  private let budget: MemoryBudget

  init(_ budget: MemoryBudget) { self.budget = budget }

  deinit {
    budget.giveBack(count)
    budget.giveBack(blocks)
  }

  /// The number of the block that holds an offset, and the offset at which that block begins.
  private static func place(_ offset: Int) -> (block: Int, start: Int) {
    if offset < MemoryBlock.leastBytes { return (0, 0) }
    if offset < MemoryBlock.mostBytes {
      let doublings = (offset / MemoryBlock.leastBytes).leadingZeroBitCount
      let block = Int.bitWidth - doublings
      return (block, MemoryBlock.leastBytes << (block - 1))
    }
    let small =
      (MemoryBlock.mostBytes / MemoryBlock.leastBytes).trailingZeroBitCount
    let block = offset / MemoryBlock.mostBytes
    return (small + block, block * MemoryBlock.mostBytes)
  }

  /// Reads up to the end of a block.
  func read(into target: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
    guard offset < count else { return 0 }
    let (number, start) = Self.place(offset)
    let memory = unsafe blocks[number].memory
    let end = min(count, start + memory.count)
    // Safe: both stretches are inside their buffers.
    let bytes = unsafe memory[offset - start..<min(end - start, offset - start + target.count)]
    unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes))
    return unsafe bytes.count
  }

  /// Writes as much as the budget allows. If `offset` is past the end, zeros fill the gap.
  mutating func write(_ source: RawSpan, at offset: Int) -> Int {
    let overwritten = max(0, min(source.byteCount, count - offset))
    let gap = max(0, offset - count)
    let (wanted, overflow) = gap.addingReportingOverflow(source.byteCount - overwritten)
    guard !overflow else { return 0 }
    let taken = wanted == 0 ? 0 : budget.take(wanted)
    guard overwritten > 0 || taken > gap else {
      budget.giveBack(taken)
      return 0
    }
    fill(to: offset)
    let written = overwritten + taken - gap
    put(source.extracting(first: written), at: offset)
    return written
  }

  private mutating func fill(to end: Int) {
    while count < end {
      let zeros = [UInt8](repeating: 0, count: min(end - count, MemoryBlock.leastBytes))
      // Safe: the array outlives the call.
      put(unsafe zeros.span.bytes, at: count)
    }
  }

  private mutating func put(_ source: RawSpan, at offset: Int) {
    var done = 0
    while done < source.byteCount {
      let (number, start) = Self.place(offset + done)
      if number == blocks.count {
        blocks.append(
          budget.block(min(max(start, MemoryBlock.leastBytes), MemoryBlock.mostBytes)))
      }
      let inside = offset + done - start
      let length = unsafe min(source.byteCount - done, blocks[number].memory.count - inside)
      unsafe source.extracting(done..<done + length).withUnsafeBytes { bytes in
        // Safe: the length was checked against both.
        unsafe UnsafeMutableRawBufferPointer(
          rebasing: blocks[number].memory[inside..<inside + length]
        ).copyMemory(from: bytes)
      }
      done += length
    }
    count = max(count, offset + done)
  }

  mutating func truncate(to end: Int) {
    guard end < count else { return }
    budget.giveBack(count - end)
    count = max(0, end)
    let kept = count == 0 ? 0 : Self.place(count - 1).block + 1
    budget.giveBack(blocks[kept...])
    blocks.removeSubrange(kept...)
  }
}
