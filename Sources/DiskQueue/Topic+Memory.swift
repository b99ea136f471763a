// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// Makes a topic in memory, for any writer, reader, consumer or channel.
  ///
  /// The same program then runs without a disk. The topic lives as long as the values that name it,
  /// and at most as long as the process. Two calls make two topics.
  ///
  /// The topic always has a cap. At its cap the writer drops the oldest slab, unless its
  /// ``QueueWriter/Options-swift.struct/whenFull`` says otherwise. A slab holds at most a sixteenth
  /// of the cap. So a reader that is too slow loses that much at a time, and gets a loss with the
  /// number of missed records.
  ///
  /// - A record is readable as soon as it is appended, and wakes the readers that wait. No flush is
  ///   necessary.
  /// - All levels of ``Durability`` mean the same here: appended.
  /// - A writer's `slabSize` and `bufferSize` are limited to fit the topic's cap. `flushEvery` and
  ///   `syncEvery` have no effect.
  /// - Neither a writer nor a stream of records starts a thread.
  ///
  /// Memory grows with the content: to at most twice the capacity, and in addition the writer's
  /// buffer of up to 64 KiB.
  ///
  /// - Parameters:
  ///   - capacity: The number of bytes that the slabs may hold together, with 8 bytes per record
  ///     and the marks. 64 MiB by default. Opening a writer refuses less than 64 KiB with
  ///     `invalidOption`.
  ///   - records: The number of records that the topic may hold. 2 or more. nil, the default: no
  ///     cap on records.
  public static func memory(
    capacity: ByteCount = .mebibytes(64), records: UInt64? = nil
  ) -> Topic {
    let bounds = MemoryBounds(capacity: capacity, records: records)
    return Topic(memory: MemoryStorage(capacity: bounds.storageCapacity), bounds)
  }
}

extension Topic {
  /// Makes a topic in memory that begins as a copy of another topic, for example of a snapshot.
  ///
  /// It has the same addresses, ordinals and consumers. A writer continues after the last copied
  /// record. The other topic is not changed.
  ///
  /// - Parameters:
  ///   - topic: The topic to copy. The copy contains everything that was flushed. The topic may be
  ///     written and read during the copy.
  ///   - capacity: As for `memory(capacity:records:)`.
  ///   - records: As for `memory(capacity:records:)`. The first append enforces it.
  /// - Throws: `noSuchTopic`, `notATopic` or `system`. `noSpace` if the topic is larger than
  ///   `capacity`.
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
        "the topic takes \(ByteCount.bytes(Int64(clamping: bytes))), more than the capacity of"
          + " \(capacity): raise the capacity, or clean the topic",
        path: source.path)
    }
    let target = MemoryStorage(capacity: bounds.storageCapacity)
    try TopicCopy.copy(source, to: target)
    return Topic(memory: target, bounds)
  }
}

/// The cap of a topic in memory.
struct MemoryBounds: Sendable, Hashable {
  var capacity: ByteCount
  var records: UInt64?

  /// The capacity of the storage. Cursors, and the bytes that opening and closing write beyond the
  /// cap, need space of their own.
  var storageCapacity: Int {
    let (sum, overflow) = max(0, capacity.bytes).addingReportingOverflow(1 << 20)
    return overflow ? .max : Int(clamping: sum)
  }

  /// A larger buffer gains nothing, because it is copied to memory.
  private static let bufferSize = ByteCount.kibibytes(64)

  /// Returns a writer's options, limited to fit this cap. A value that is too small stays too
  /// small, and is refused later.
  func fitted(_ options: QueueWriter.Options) -> QueueWriter.Options {
    var fitted = options
    let bytes = min(options.maximumBytes ?? capacity, capacity)
    fitted.maximumBytes = bytes
    if let records { fitted.maximumRecords = min(options.maximumRecords ?? records, records) }
    let slab = Limits.slabSize(inCap: bytes)
    fitted.slabSize = min(options.slabSize ?? Limits.automaticSlabSize(cap: bytes), slab)
    fitted.bufferSize = min(options.bufferSize, min(slab, Self.bufferSize))
    fitted.flushEvery = .never
    fitted.syncEvery = .never
    if options.whenFull == .automatic { fitted.whenFull = .dropOldest }
    return fitted
  }

  /// Nothing waits for a disk: the appending thread does immediately what a background thread would
  /// do.
  func fitted(_ environment: Environment) -> Environment {
    var fitted = environment
    if case .thread = environment.background { fitted.background = .inline }
    return fitted
  }
}
