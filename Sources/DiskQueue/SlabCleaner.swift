// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Removes the oldest slabs of a topic: by age, bytes and records.
///
/// ```swift
/// let report = try SlabCleaner(topic: "sensors")
///   .clean(keeping: .init(age: .days(7), bytes: .gibibytes(1), consumers: .protected))
/// print(report)
/// ```
///
/// - It removes only whole slabs, from the front, one at a time. The last slab always stays, and so
///   does a slab at which recovery may still have to start.
/// - It needs no lock. It may run beside a writer, readers, consumers and other cleaners, in any
///   process.
/// - It may be killed or lose power at any moment. The slabs that remain are always the end of the
///   log, without a gap.
/// - A reader that has a removed slab open keeps reading it. A later reader gets a loss with the
///   number of cleaned records, if it can be known.
///
/// Threads and tasks may share a cleaner.
public struct SlabCleaner: Sendable {
  /// The topic that this cleaner cleans.
  public let topic: Topic
  let storage: any TopicStorage
  let environment: Environment

  /// Opens a topic for cleaning. Locks, creates and changes nothing.
  ///
  /// - Throws: `noSuchTopic`, `notATopic` or `system`.
  /// - Complexity: One listing of the directory.
  public init(topic: Topic) throws(QueueError) {
    try self.init(topic: topic, environment: .system)
  }

  package init(topic: Topic, environment: Environment) throws(QueueError) {
    self.topic = topic
    self.environment = environment
    storage = try topic.openForReading()
    _ = try TopicIndex.slabs(in: storage)
  }

  /// Removes the slabs that are outside a bound, and reports them and why no more were removed.
  ///
  /// Level reached: `synced`. When this returns, the removals are permanent.
  ///
  /// - Parameters:
  ///   - retention: How much to keep.
  ///   - onRemoval: Called with each removal immediately after it was done, oldest first. So you
  ///     know the removals before an error.
  /// - Throws: One of these codes:
  ///   - `invalidOption`, before anything is removed.
  ///   - `unsupportedFormat` if a slab belongs to a newer program or to another topic. The cleaner
  ///     does not guess.
  ///   - `syncFailed` or `system`. Earlier removals stay, and `onRemoval` has received them.
  /// - Complexity: It reads the sizes of the slabs that stay, two slab headers, and one more header
  ///   for each removal. A bound on records adds a walk from the last proof of durability to the
  ///   end. Each removal lists the topic and its consumers, and syncs the directory. Memory: 8
  ///   bytes per slab, and the report.
  @discardableResult
  public func clean(
    keeping retention: Retention, onRemoval: (Removal) -> Void = { _ in }
  ) throws(QueueError) -> Report {
    try run(retention, isDryRun: false, onRemoval)
  }

  /// Reports what ``clean(keeping:onRemoval:)`` would do now. Nothing is removed.
  ///
  /// Like `clean`, it may sync two things: the position of a consumer that has acknowledged only
  /// once, and slabs that only lack a proof of durability.
  ///
  /// - Parameters:
  ///   - retention: How much to keep.
  ///   - onRemoval: Called with each removal that `clean` would do, oldest first.
  /// - Throws: As ``clean(keeping:onRemoval:)``.
  /// - Complexity: As ``clean(keeping:onRemoval:)``, without the removals.
  public func plan(
    keeping retention: Retention, onRemoval: (Removal) -> Void = { _ in }
  ) throws(QueueError) -> Report {
    try run(retention, isDryRun: true, onRemoval)
  }

  private func run(
    _ retention: Retention, isDryRun: Bool, _ onRemoval: (Removal) -> Void
  ) throws(QueueError) -> Report {
    var removals: [Removal] = []
    let round = CleaningRound(
      storage: storage, retention: retention, now: environment.now, isDryRun: isDryRun)
    let stopReason = try round.run {
      removals.append($0)
      onRemoval($0)
    }
    return Report(removals: removals, stopReason: stopReason)
  }
}

// MARK: - Reports

extension SlabCleaner {
  /// A slab that was removed, or would be removed.
  public struct Removal: Sendable, Hashable, CustomStringConvertible {
    /// The bound that the whole slab was outside of.
    @nonexhaustive
    public enum Cause: Sendable, Hashable {
      /// The slab's newest record was older than this.
      case age(Age)
      /// The slab was before this many newest bytes.
      case bytes(ByteCount)
      /// The slab was before this many newest records.
      case records(UInt64)
    }

    /// The slab's base address.
    public var slab: Address
    /// The number of records that the log took in the slab, damaged ones included.
    ///
    /// nil if it is not known. It is not known in version 1 slabs, and if the beginning of this
    /// slab or of the next one is damaged.
    public var records: UInt64?
    /// The size of the slab's file.
    public var bytes: ByteCount
    /// The bound that the slab was outside of.
    public var cause: Cause

    /// The slab, its records, its size and the cause, on one line.
    public var description: String {
      "slab \(slab): \(Words.records(records)), \(bytes), \(reason)"
    }

    /// The cause as a text for people.
    public var reason: String {
      switch cause {
      case .age(let age): "older than \(age)"
      case .bytes(let bytes): "before the newest \(bytes)"
      case .records(let records): "before the newest \(records) records"
      }
    }
  }

  /// The result of one cleaning, or of one plan.
  public struct Report: Sendable, Hashable, CustomStringConvertible {
    /// The slabs that were removed, or would be removed, oldest first.
    public var removals: [Removal]
    /// The reason why no more slabs were removed.
    public var stopReason: StopReason

    /// Makes a report, to test code that handles reports.
    ///
    /// - Parameters:
    ///   - removals: The removed slabs, oldest first.
    ///   - stopReason: The reason why no more slabs were removed.
    public init(removals: [Removal], stopReason: StopReason) {
      self.removals = removals
      self.stopReason = stopReason
    }

    /// The numbers of slabs, records and bytes, and why no more slabs were removed, on one line.
    public var description: String {
      guard !removals.isEmpty else { return "no slab: \(stopReason)" }
      return "\(Words.count(UInt64(removals.count), "slab")):"
        + " \(Words.records(removedRecords)), \(removedBytes). Then: \(stopReason)"
    }

    /// The number of bytes in the files of the removed slabs.
    public var removedBytes: ByteCount { removals.reduce(.bytes(0)) { $0 + $1.bytes } }

    /// The number of records that the log took in the removed slabs, damaged ones included.
    ///
    /// nil if it is not known for one of the slabs.
    public var removedRecords: UInt64? {
      removals.reduce(0 as UInt64?) { sum, removal in
        sum.flatMap { sum in removal.records.map { sum &+ $0 } }
      }
    }
  }

  /// The reason why a slab stays, together with all slabs after it.
  @nonexhaustive
  public enum StopReason: Sendable, Hashable, CustomStringConvertible {
    /// The retention has no bound.
    case noBound
    /// The topic has no slab.
    case empty
    /// It is the last slab.
    case lastSlab
    /// At least a part of the slab is within every bound.
    case withinBounds
    /// The slabs after it hold less than ``Retention/minimumBytes``.
    case minimum
    /// The beginning of the next slab is not known to be durable.
    ///
    /// The cleaner could not make it durable. Either a crash has separated that slab from the log,
    /// which the next writer resolves, or the slab is being created.
    case unproven
    /// This consumer has not acknowledged the whole slab.
    case consumer(String)
    /// The position of this consumer cannot be read.
    case unreadableConsumer(String, reason: String)
    /// The task was cancelled, or an error ended the cleaning.
    case interrupted

    /// The reason as a text for people.
    public var description: String {
      switch self {
      case .noBound: "no bound was given"
      case .empty: "the topic holds no slab"
      case .lastSlab: "the last slab always stays"
      case .withinBounds: "all that is left is within the bounds"
      case .minimum: "the rest is the minimum to keep"
      case .unproven: "it is not certain yet that the next slab is on stable storage"
      case .consumer(let name): "held by consumer \(name)"
      case .unreadableConsumer(let name, let reason):
        "held by consumer \(name), whose position cannot be read (\(reason)): reset it or delete it"
      case .interrupted: "interrupted"
      }
    }
  }
}
