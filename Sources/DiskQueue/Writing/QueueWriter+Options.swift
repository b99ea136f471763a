// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Bounds, policies and permissions. Each default says why it is one; `init(topic:options:)`
  /// refuses a value out of its bounds with `invalidOption`.
  public struct Options: Sendable {
    /// A slab is left for a new one before a record that would end beyond this; a larger record
    /// gets a slab to itself. 4 KiB to 1 TiB, and at most a quarter of ``maximumBytes``. 64 MiB by
    /// default: few files, and still a grain that cleaning can give back on a small device.
    public var slabSize: ByteCount = .mebibytes(64)

    /// A slab that holds a record and is older than this is left for a new one, at the next append or
    /// by the writer's own thread. So an age in ``Retention`` also reaches a topic that never fills a
    /// slab: a slab is removed as a whole, once all of it is old. nil by default: a slab is left only
    /// when it is full.
    ///
    /// Above 0. The age counts from the slab's first record. If the slab was found at opening, it counts
    /// from the slab's making, by the wall clock.
    public var slabAge: Duration?

    /// A larger payload is refused before anything is written. 0 bytes to 4 GiB less 17 bytes;
    /// 16 MiB by default, as the reader's.
    public var maximumPayload: ByteCount = .bytes(Int64(Limits.defaultMaximumPayload))

    /// Records gather here before they are handed to the system. 4 KiB to 1 GiB; 2 MiB by
    /// default: a write of so much to ext4 takes a third less a byte than one of 256 KiB. It takes about
    /// half a millisecond, for which appending stops: take less where that matters more.
    public var bufferSize: ByteCount = .mebibytes(2)

    /// When what was appended is flushed without being asked for. Every 100 ms by default: whoever
    /// follows the topic sees a record within a tenth of a second, for ten writes a second at most.
    /// A full buffer is flushed whatever this says.
    public var flushEvery: Interval = .milliseconds(100)

    /// When what was appended is synced without being asked for. Never by default: a sync is what
    /// wears flash and takes time, so it is yours to ask for, by `sync`, by `append(_:ensuring:)`
    /// or here. A slab that is left behind is synced in the background whatever this says.
    public var syncEvery: Interval = .never

    /// What the slabs of the topic may hold together, in bytes; 64 KiB or more. No bound but the
    /// disk by default. A payload above half of it is refused with `payloadTooLarge`. Each opening
    /// and each closing writes what it must, some 100 bytes, also beyond it; after a power cut, the
    /// slab that was removed last may be back.
    public var maximumBytes: ByteCount?

    /// How many records the topic may hold; 2 or more. No bound by default. Room is made a slab at a
    /// time, so a slab holds no more than a sixteenth of it. One that was written under a wider bound,
    /// or none, goes as a whole.
    public var maximumRecords: UInt64?

    /// What happens at ``maximumBytes`` and ``maximumRecords``, and on a full disk. nil by default: in
    /// memory the oldest slabs are dropped, which is what a bounded log in memory is for; on a disk the
    /// append fails, as whoever appends knows best what to do.
    public var whenFull: WhenFull?

    /// The ordinal of the first record of a topic that is made: where it goes on counting what another
    /// one held, say. 0 by default; below 2^63. A topic that is there counts on from its last record.
    /// Such a topic begins with the first address of the second epoch, as one does whose first records
    /// were cleaned.
    public var firstOrdinal: UInt64 = 0

    /// Told what becomes of the writer, for logs and metrics; nobody by default.
    ///
    /// It is called with no lock held, one event at a time and in order, on whatever thread an event came
    /// about, or the writer's own. What waits behind it is that thread's work, and events that come
    /// faster than it takes them wait in memory: so it should be quick. It may append, flush, sync and
    /// look at the writer, but not close it, and not make an event of each event. Let it hold the writer
    /// weakly: until the writer is closed, the writer holds it.
    ///
    /// A ``ShardedWriter`` tells what becomes of its shards in turn; an event does not name the shard.
    public var onEvent: (@Sendable (Event) -> Void)?

    /// Permission bits of the directory of a topic that is made, less the umask. 0700 by default:
    /// payloads are private. A directory that is made in an existing topic has those of the topic's.
    public var directoryPermissions: UInt16 = 0o700

    /// Permission bits of the files of a topic that is made, less the umask. 0600 by default. In an
    /// existing topic, a new file has those of the newest slab. The file `lock` has none for a class of
    /// users that may not write.
    public var filePermissions: UInt16 = 0o600

    /// How far marks lie apart, in bytes; at most the format's 64 KiB. Tests set it lower, so that a
    /// small topic holds many.
    package var markSpacing = SlabFormat.markSpacing

    /// The defaults.
    public init() {}

    /// After how much something is done of its own accord: records, bytes or time since it was last
    /// done, whichever comes first.
    ///
    /// The append with which the number is reached does it before it returns. A time counts from the
    /// first record that waits; when it has passed, the writer's own thread does it, also when
    /// nothing more is appended.
    public struct Interval: Sendable, Hashable {
      /// From 1.
      public var records: UInt64?
      /// Of the log, so with 8 bytes a record and the marks; from 1.
      public var bytes: ByteCount?
      /// From a microsecond.
      public var time: Duration?

      /// Each bound counts from when it was last done; nil: that one never.
      ///
      /// - Parameters:
      ///   - records: how many were appended; from 1.
      ///   - bytes: how many of the log, so with 8 bytes a record and the marks; from 1.
      ///   - time: since the first record that waits; from a microsecond.
      public init(records: UInt64? = nil, bytes: ByteCount? = nil, time: Duration? = nil) {
        self.records = records
        self.bytes = bytes
        self.time = time
      }

      /// Only when it is asked for.
      public static let never = Interval()
      /// After so many records; from 1.
      public static func records(_ n: UInt64) -> Interval { Interval(records: n) }
      /// After so many bytes of the log; from 1.
      public static func bytes(_ n: ByteCount) -> Interval { Interval(bytes: n) }
      /// So long after the first record that waits; from a microsecond.
      public static func time(_ time: Duration) -> Interval { Interval(time: time) }
      /// So many seconds after the first record that waits; from 1.
      public static func seconds(_ n: Int64) -> Interval { Interval(time: .seconds(n)) }
      /// So many milliseconds after the first record that waits; from 1.
      public static func milliseconds(_ n: Int64) -> Interval { Interval(time: .milliseconds(n)) }

      fileprivate func validate(_ name: String) throws(QueueError) {
        guard records ?? 1 >= 1, bytes?.bytes ?? 1 >= 1, time ?? .seconds(1) >= .microseconds(1)
        else {
          throw .invalidOption(
            "\(name) counts from 1 record, 1 byte or a microsecond; say never to leave it out")
        }
      }
    }

    /// What becomes of an append that finds no room.
    @nonexhaustive
    public enum WhenFull: Sendable {
      /// It fails with `noSpace`, and nothing of it is in the log; it goes on when there is room.
      case fail
      /// It waits until a cleaner has made room below the bound. `append` blocks its thread,
      /// `append(_:ensuring:)` suspends its task. A full disk cannot be waited for: it fails.
      case wait
      /// The oldest slabs are removed until there is room. Readers and consumers behind them are
      /// told how many records they missed.
      case dropOldest
      /// The oldest slabs are removed as far as every consumer has acknowledged them; then, and
      /// where the topic has no consumer, it fails with `noSpace`.
      case dropOldestAcknowledged
    }

    /// Whether there is any bound on what the topic holds.
    var isBounded: Bool { maximumBytes != nil || maximumRecords != nil }

    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try Limits.check(slabSize, Limits.slabSize, "slabSize")
      guard slabAge ?? .seconds(1) > .zero else {
        throw .invalidOption(
          "slabAge is \(slabAge ?? .zero), and must be above 0: say nil to leave only full slabs")
      }
      try Limits.check(maximumPayload, Limits.maximumPayload, "maximumPayload")
      try Limits.check(bufferSize, Limits.bufferSize, "bufferSize")
      try flushEvery.validate("flushEvery")
      try syncEvery.validate("syncEvery")
      if let maximumBytes {
        try Limits.check(maximumBytes, Limits.maximumBytes, "maximumBytes")
        guard slabSize.bytes <= maximumBytes.bytes / 4 else {
          throw .invalidOption(
            "slabSize is \(slabSize), and must be at most a quarter of maximumBytes"
              + " (\(maximumBytes)): room is made a whole slab at a time")
        }
      } else if case .wait? = whenFull, maximumRecords == nil {
        throw .invalidOption(
          "whenFull is wait, and needs maximumBytes or maximumRecords: a full disk cannot be waited"
            + " for")
      }
      guard maximumRecords ?? 2 >= 2 else {
        throw .invalidOption(
          "maximumRecords is \(maximumRecords ?? 0), and must be 2 or more: room is made a whole slab"
            + " at a time, and the slab that is written stays")
      }
      guard firstOrdinal <= Limits.firstOrdinal else {
        throw .invalidOption("firstOrdinal is \(firstOrdinal), and must be below 2^63")
      }
      guard directoryPermissions <= 0o777, filePermissions <= 0o777 else {
        throw .invalidOption("permissions are bits from 0 to 0o777")
      }
    }
  }
}
