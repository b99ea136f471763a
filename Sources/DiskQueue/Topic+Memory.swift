// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// A topic in memory, for any writer, reader, consumer or channel: the same program, without a disk.
  /// It lives as long as the values that name it, and does not outlive the process; two calls make
  /// two topics.
  ///
  /// It is bounded, and at its bound a writer drops the oldest slab, unless its
  /// ``QueueWriter/Options-swift.struct/whenFull`` says otherwise. A slab holds no more than a
  /// sixteenth of what the topic may hold: that is what is lost at a time to a reader that is too
  /// slow, which is told how many records it missed.
  ///
  /// A record can be read once it was appended, and whoever waits is woken by it: nothing has to be
  /// flushed. The levels of ``Durability`` mean nothing more here than appended. Of a writer's options,
  /// `slabSize` and `bufferSize` are taken as far as they fit the bounds, and `flushEvery` and
  /// `syncEvery` are not needed. Neither a writer nor a stream of records makes a thread.
  ///
  /// Memory grows with what is written: to twice the capacity at the most, and with it the writer's
  /// buffer of up to 64 KiB.
  ///
  /// - Parameters:
  ///   - capacity: what its slabs may hold together, in bytes, with 8 a record and the marks; 64 MiB by
  ///     default. Opening a writer refuses less than 64 KiB with `invalidOption`.
  ///   - records: how many records it may hold; no bound by default; 2 or more.
  public static func memory(
    capacity: ByteCount = .mebibytes(64), records: UInt64? = nil
  ) -> Topic {
    let bounds = MemoryBounds(capacity: capacity, records: records)
    return Topic(memory: MemoryStorage(capacity: bounds.storageCapacity), bounds)
  }
}

extension Topic {
  /// A topic in memory that begins as a copy of another one, a snapshot say: the same addresses,
  /// ordinals and consumers. A writer goes on behind its last record; the other topic stays as it is.
  ///
  /// - Parameters:
  ///   - topic: what was flushed of it is copied; it may be written and read meanwhile.
  ///   - capacity: as of `memory(capacity:records:)`.
  ///   - records: as of `memory(capacity:records:)`; the first append holds the topic to it.
  /// - Throws: `noSuchTopic`, `notATopic`, `system`; `noSpace` where the topic is larger than `capacity`.
  /// - Complexity: O(bytes of the topic). Blocks the thread while a disk is read.
  public static func memory(
    loading topic: Topic, capacity: ByteCount = .mebibytes(64), records: UInt64? = nil
  ) throws(QueueError) -> Topic {
    let source = try topic.openForReading()
    let bounds = MemoryBounds(capacity: capacity, records: records)
    let bytes = try SlabFront(of: source).bytes
    guard bytes <= UInt64(clamping: capacity.bytes) else {
      throw QueueError(
        .noSpace,
        "the topic takes \(ByteCount.bytes(Int64(clamping: bytes))), and a capacity of \(capacity) does"
          + " not hold it: raise it, or clean the topic",
        path: source.path)
    }
    let target = MemoryStorage(capacity: bounds.storageCapacity)
    try TopicCopy.copy(source, to: target)
    return Topic(memory: target, bounds)
  }
}

/// What a topic in memory may hold.
struct MemoryBounds: Sendable, Hashable {
  var capacity: ByteCount
  var records: UInt64?

  /// Cursors, and what opening and closing write beyond the bound, need room of their own.
  var storageCapacity: Int {
    let (sum, overflow) = max(0, capacity.bytes).addingReportingOverflow(1 << 20)
    return overflow ? .max : Int(clamping: sum)
  }

  /// How many slabs the topic consists of, at its bound.
  private static let slabs: Int64 = 16
  /// A buffer of more gains nothing where it is copied to memory.
  private static let bufferSize = ByteCount.kibibytes(64)

  /// A writer's options, within these bounds. What is too small is left so, and refused.
  func fitted(_ options: QueueWriter.Options) -> QueueWriter.Options {
    var fitted = options
    let bytes = min(options.maximumBytes ?? capacity, capacity)
    fitted.maximumBytes = bytes
    if let records { fitted.maximumRecords = min(options.maximumRecords ?? records, records) }
    let slab = ByteCount.bytes(max(Limits.slabSize.lowerBound, bytes.bytes / Self.slabs))
    fitted.slabSize = min(options.slabSize, slab)
    fitted.bufferSize = min(options.bufferSize, min(slab, Self.bufferSize))
    fitted.flushEvery = .never
    fitted.syncEvery = .never
    if options.whenFull == nil { fitted.whenFull = .dropOldest }
    return fitted
  }

  /// Nothing waits for a disk: the appender does at once what a thread would.
  func fitted(_ environment: Environment) -> Environment {
    var fitted = environment
    if case .thread = environment.background { fitted.background = .inline }
    return fitted
  }
}
