// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// The bounds, policies and permissions of a writer.
  ///
  /// ``QueueWriter/init(topic:options:)`` refuses a value that is out of its bounds with
  /// `invalidOption`.
  public struct Options: Sendable {
    /// The size at which the writer starts a new slab: before a record that would end beyond it.
    ///
    /// nil by default: the writer chooses. Without a cap it takes 64 MiB, which results in few
    /// files, and is still an amount that a small device can free by cleaning. With a cap it takes
    /// a sixteenth of ``maximumBytes``, but at most 64 MiB and at least 4 KiB. Room is made one
    /// slab at a time. So a topic at its cap loses, or waits for, at most a sixteenth of its bytes.
    ///
    /// A size that you set must be 4 KiB to 1 TiB, and at most a quarter of ``maximumBytes``. A
    /// larger record gets its own slab.
    public var slabSize: ByteCount?

    /// The age at which the writer starts a new slab, if the current one holds a record.
    ///
    /// nil by default: it starts a new slab only when the current one is full. The next append
    /// starts the new slab, or the writer's own thread. A slab is removed as a whole, once all of
    /// it is old. So with this option an age in ``Retention`` also reaches a topic that never fills
    /// a slab.
    ///
    /// The age must be above 0. It counts from the slab's first record. If opening found the slab,
    /// the age counts from the creation of the slab, by the wall clock.
    public var slabAge: Age?

    /// The largest payload.
    ///
    /// A larger one is refused before anything is written. 16 MiB by default, as the reader's. It
    /// must be 0 bytes to 4 GiB less 17 bytes.
    public var maximumPayload: ByteCount

    /// The size of the buffer that collects records for the operating system. 2 MiB by default.
    ///
    /// It must be 4 KiB to 1 GiB. A write of 2 MiB to ext4 takes a third less time per byte than
    /// one of 256 KiB. It takes about half a millisecond, and appending stops during that time.
    /// Choose a smaller buffer if that matters more.
    public var bufferSize: ByteCount

    /// How much may wait before the writer flushes by itself.
    ///
    /// It is a number of records, of bytes, or a time. Every 100 ms by default. With the default, a
    /// reader that follows the topic sees a record within a tenth of a second. The cost is at most
    /// ten writes a second. A full buffer is flushed regardless of this option.
    public var flushEvery: Threshold

    /// How much may wait before the writer syncs by itself.
    ///
    /// It is a number of records, of bytes, or a time. Never by default. A sync wears flash and
    /// takes time. So you request one with `sync`, with `append(_:ensuring:)` or with this option.
    /// A finished slab is synced in the background regardless of this option.
    ///
    /// A time counts from the first record that waits, and not from the last sync. With
    /// `.seconds(1)` and 10 records a second, a sync begins every 1.00 to 1.10 s. The time of the
    /// sync itself comes on top. If your bound is strict, choose a lower time.
    public var syncEvery: Threshold

    /// The number of bytes that all slabs of the topic may hold together.
    ///
    /// nil by default: the disk is the only limit. It must be 64 KiB or more. A payload above half
    /// of it is refused with `payloadTooLarge`. The topic can exceed this cap in two cases:
    ///
    /// - Each opening and each closing writes about 100 bytes, if necessary beyond it.
    /// - After a power cut, the slab that was removed last may be back.
    ///
    /// The cap counts the sizes of the slabs' files, and not blocks of the disk. On the disk the
    /// slabs take at most this many bytes:
    ///
    /// ```text
    /// maximumBytes + (1 + slabs left by kills) × ahead + slabs × 4 KiB
    /// ahead = the slab size, but at most 8 MiB + bufferSize
    /// ```
    ///
    /// - While appends fill whole buffers, the writer preallocates blocks after the end, within the
    ///   slab. A writer that flushes earlier preallocates none.
    /// - A writer gives these blocks back when it leaves or closes the slab. If the process dies,
    ///   they stay until the slab is removed, and the next writer starts a new slab.
    /// - A file takes whole blocks, mostly of 4 KiB.
    ///
    /// If a reader has a removed slab open, the file system frees its blocks after the reader moves
    /// on. The lock and each consumer take a few blocks more.
    public var maximumBytes: ByteCount?

    /// The number of records that the topic may hold. nil by default: no cap.
    ///
    /// It must be 2 or more. The writer makes room one slab at a time. So a slab holds at most a
    /// sixteenth of this number. A slab that was written under a higher cap, or under none, is
    /// removed as a whole.
    public var maximumRecords: UInt64?

    /// What an append does at the cap, ``maximumBytes`` or ``maximumRecords``, and on a full disk.
    ///
    /// ``WhenFull/automatic`` by default: a topic in memory drops its oldest slabs, and on a disk
    /// the append fails.
    public var whenFull: WhenFull

    /// The ordinal of the first record of a new topic.
    ///
    /// 0 by default. Use it to continue the count of another topic. It must be below 2^63. An
    /// existing topic continues its own count. If the option is not 0, a new topic begins at the
    /// first address of the second epoch, as if its first records had been cleaned.
    public var firstOrdinal: UInt64

    /// Receives the events of the writer, for logs and metrics. nil by default.
    ///
    /// - It is called without a lock held, one event at a time and in order. It runs on the thread
    ///   that caused the event, or on the writer's own thread.
    /// - It should be quick: that thread waits for it. Events that arrive faster than it returns
    ///   wait in memory.
    /// - It may append, flush, sync and inspect the writer. It must not close the writer, and must
    ///   not cause a new event for every event.
    /// - It should hold the writer weakly, because the writer holds the closure until it is closed.
    ///
    /// It receives the events from the opening on. For a handler that uses the writer, there is
    /// ``QueueWriter/onEvent(_:)``, which you call after opening. For a ``ShardedWriter``, set
    /// ``ShardedWriter/Options-swift.struct/onEvent``, which names the shard.
    public var onEvent: (@Sendable (Event) -> Void)?

    /// The permission bits of a new topic's directory and files, less the umask.
    ///
    /// ``TopicPermissions/ownerOnly`` by default: payloads are private. An existing topic keeps its
    /// permissions.
    public var permissions: TopicPermissions

    /// The distance between marks, in bytes: at most the format's 64 KiB. Tests set a smaller one,
    /// so that a small topic contains many marks.
    package var markSpacing = SlabFormat.markSpacing

    /// Makes options. Every parameter has its default.
    ///
    /// - Parameters:
    ///   - slabSize: The size at which the writer starts a new slab. nil: the writer chooses.
    ///   - slabAge: The age at which the writer starts a new slab. nil: only when one is full.
    ///   - maximumPayload: The largest payload. 16 MiB by default.
    ///   - bufferSize: The size of the buffer that collects records. 2 MiB by default.
    ///   - flushEvery: How much may wait before the writer flushes by itself. 100 ms by default.
    ///   - syncEvery: How much may wait before the writer syncs by itself. Never by default.
    ///   - maximumBytes: The number of bytes that all slabs may hold together. nil: no cap.
    ///   - maximumRecords: The number of records that the topic may hold. nil: no cap.
    ///   - whenFull: What an append does at the cap, and on a full disk.
    ///   - firstOrdinal: The ordinal of the first record of a new topic. 0 by default.
    ///   - permissions: The permission bits of a new topic's directory and files.
    ///   - onEvent: Receives the events of the writer, from its opening on.
    public init(
      slabSize: ByteCount? = nil, slabAge: Age? = nil,
      maximumPayload: ByteCount = .mebibytes(16),
      bufferSize: ByteCount = .mebibytes(2), flushEvery: Threshold = .milliseconds(100),
      syncEvery: Threshold = .never, maximumBytes: ByteCount? = nil,
      maximumRecords: UInt64? = nil, whenFull: WhenFull = .automatic, firstOrdinal: UInt64 = 0,
      permissions: TopicPermissions = .ownerOnly, onEvent: (@Sendable (Event) -> Void)? = nil
    ) {
      self.slabSize = slabSize
      self.slabAge = slabAge
      self.maximumPayload = maximumPayload
      self.bufferSize = bufferSize
      self.flushEvery = flushEvery
      self.syncEvery = syncEvery
      self.maximumBytes = maximumBytes
      self.maximumRecords = maximumRecords
      self.whenFull = whenFull
      self.firstOrdinal = firstOrdinal
      self.permissions = permissions
      self.onEvent = onEvent
    }

    /// What the writer does with an append for which there is no room.
    @nonexhaustive
    public enum WhenFull: Sendable, Hashable {
      /// In memory like ``dropOldest``, because that is the purpose of a bounded log in memory.
      ///
      /// On a disk like ``fail``, because the caller knows best what to do.
      case automatic
      /// The append fails with `noSpace`, and nothing of it is in the log.
      ///
      /// Appending works again when there is room.
      case fail
      /// The append waits until a cleaner has made room below the cap.
      ///
      /// `append` blocks its thread, and `append(_:ensuring:)` suspends its task. The writer cannot
      /// wait for a full disk: in that case the append fails.
      case wait
      /// The writer removes the oldest slabs until there is room.
      ///
      /// Readers and consumers that had not read them get a loss with the number of missed records.
      case dropOldest
      /// The writer removes the oldest slabs that every consumer has acknowledged.
      ///
      /// If that is not enough, or the topic has no consumer, the append fails with `noSpace`.
      case dropOldestAcknowledged
    }

    /// The size of slabs that a writer with these options uses.
    package var effectiveSlabSize: ByteCount {
      slabSize ?? Limits.automaticSlabSize(cap: maximumBytes)
    }

    /// Whether there is a cap on the topic.
    var isBounded: Bool { maximumBytes != nil || maximumRecords != nil }

    /// Checks that all values are within their bounds.
    ///
    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      if let slabSize { try Limits.check(slabSize, Limits.slabSize, "slabSize") }
      if let slabAge, slabAge.duration <= .zero {
        throw .invalidOption(
          "slabAge is \(slabAge), and must be above 0: leave it out to start a new slab only when"
            + " one is full")
      }
      try Limits.check(maximumPayload, Limits.maximumPayload, "maximumPayload")
      try Limits.check(bufferSize, Limits.bufferSize, "bufferSize")
      try flushEvery.validate("flushEvery")
      try syncEvery.validate("syncEvery")
      if let maximumBytes {
        try Limits.check(maximumBytes, Limits.maximumBytes, "maximumBytes")
        if let slabSize, slabSize.bytes > maximumBytes.bytes / 4 {
          throw .invalidOption(
            "slabSize is \(slabSize), and must be at most a quarter of maximumBytes"
              + " (\(maximumBytes)), because the writer makes room one whole slab at a time: leave"
              + " it out, and the writer chooses one that fits")
        }
      } else if whenFull == .wait, maximumRecords == nil {
        throw .invalidOption(
          "whenFull is wait, and needs maximumBytes or maximumRecords: the writer cannot wait for a"
            + " full disk")
      }
      guard maximumRecords ?? 2 >= 2 else {
        throw .invalidOption(
          "maximumRecords is \(maximumRecords ?? 0), and must be 2 or more: the writer makes room"
            + " one whole slab at a time, and never removes the slab that it writes to")
      }
      guard firstOrdinal <= Limits.firstOrdinal else {
        throw .invalidOption("firstOrdinal is \(firstOrdinal), and must be below 2^63")
      }
      try permissions.validate()
    }
  }
}
