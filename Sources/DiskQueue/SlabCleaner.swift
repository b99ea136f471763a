// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Removes the oldest slabs of a topic: by age, bytes and records.
///
/// ```swift
/// let removed = try SlabCleaner(topic: "sensors")
///   .clean(keeping: .init(age: .days(7), bytes: .gibibytes(1), consumers: .protected))
/// ```
///
/// Only whole slabs go, from the front, one at a time. A cleaner needs no lock: it may run beside a
/// writer, readers, consumers and other cleaners, in any process, and be killed or lose power at any
/// moment; what is left is always the end of the log, without a hole. Whoever reads a slab that is
/// removed reads on in it, and whoever comes too late is told how much was cleaned. The last slab
/// always stays, and so does a slab that recovery may still have to start at.
///
/// Safe to share among threads and tasks.
public struct SlabCleaner: Sendable {
  /// What it was opened with.
  public let topic: Topic
  let storage: any TopicStorage
  let environment: Environment

  /// Opens a topic for cleaning. Nothing is locked, made or changed.
  ///
  /// - Throws: `noSuchTopic`, `notATopic`, `system`.
  /// - Complexity: one listing of the directory.
  public init(topic: Topic) throws(QueueError) {
    try self.init(topic: topic, environment: .system)
  }

  package init(topic: Topic, environment: Environment) throws(QueueError) {
    self.topic = topic
    self.environment = environment
    storage = try topic.openForReading()
    _ = try TopicIndex.slabs(in: storage)
  }

  /// Removes what lies beyond a bound, and returns what was removed, oldest first. It is gone for
  /// good when this returns: level reached: `synced`.
  ///
  /// - Throws: `invalidOption`, before anything is removed; `unsupportedFormat` where a newer program
  ///   or another topic has put a slab: nothing is guessed; `syncFailed`, `system`: what was removed
  ///   before stays removed, and `report(keeping:isDryRun:onRemoval:)` tells it.
  /// - Complexity: reads as many slabs' sizes as hold what is to be kept, two headers, and one more a
  ///   slab that is removed; a bound on records also reads from the last proof of durability to the
  ///   end. Each removal lists the topic and its consumers, and syncs the directory. Holds 8 bytes a
  ///   slab, and the list that it returns.
  @discardableResult
  public func clean(keeping retention: Retention) throws(QueueError) -> [Removal] {
    try report(keeping: retention, isDryRun: false).removals
  }

  /// What `clean` would remove now. Nothing is removed.
  ///
  /// As `clean`, it syncs the position of a consumer that has acknowledged only once, and slabs of
  /// which nothing but a proof that they are durable is wanting.
  ///
  /// - Throws: as ``clean(keeping:)``.
  /// - Complexity: as ``clean(keeping:)``, without the removals.
  public func plan(keeping retention: Retention) throws(QueueError) -> [Removal] {
    try report(keeping: retention, isDryRun: true).removals
  }

  /// As `clean` or `plan`, and says why no more goes.
  ///
  /// - Parameters:
  ///   - retention: how much to keep.
  ///   - isDryRun: whether nothing is removed.
  ///   - onRemoval: called with each removal as soon as it is done, or would be: what was removed
  ///     before an error is known by it.
  /// - Throws: as ``clean(keeping:)``.
  /// - Complexity: as ``clean(keeping:)``.
  public func report(
    keeping retention: Retention, isDryRun: Bool, onRemoval: (Removal) -> Void = { _ in }
  ) throws(QueueError) -> Report {
    var removals: [Removal] = []
    let round = CleaningRound(
      storage: storage, retention: retention, now: environment.now, isDryRun: isDryRun)
    let kept = try round.run {
      removals.append($0)
      onRemoval($0)
    }
    return Report(removals: removals, kept: kept)
  }
}

// MARK: - What it reports

extension SlabCleaner {
  /// A slab that was removed, or would be.
  public struct Removal: Sendable, Hashable {
    /// The bound that all of it lay beyond.
    @nonexhaustive
    public enum Cause: Sendable, Hashable {
      /// Its newest record was older than this.
      case age(Age)
      /// It lay before the newest so many bytes.
      case bytes(ByteCount)
      /// It lay before the newest so many records.
      case records(UInt64)
    }

    /// The address that it began at.
    public var slab: Address
    /// How many records the log took in it, damaged ones included; nil where nothing tells: in
    /// version 1 slabs, and where the beginning of it or of the next one is damaged.
    public var records: UInt64?
    /// The size of its file.
    public var bytes: ByteCount
    /// The bound that it lay beyond.
    public var cause: Cause

    /// The cause, for people.
    public var reason: String {
      switch cause {
      case .age(let age): "older than \(age.duration)"
      case .bytes(let bytes): "before the newest \(bytes)"
      case .records(let records): "before the newest \(records) records"
      }
    }
  }

  /// What became of one cleaning.
  public struct Report: Sendable, Hashable {
    /// Oldest first.
    public var removals: [Removal]
    /// Why no more went.
    public var kept: Kept
  }

  /// Why a slab stays, and with it all behind it.
  @nonexhaustive
  public enum Kept: Sendable, Hashable, CustomStringConvertible {
    /// The retention has no bound.
    case noBound
    /// The topic holds no slab.
    case empty
    /// It is the last one.
    case lastSlab
    /// It lies, at least in part, within every bound.
    case withinBounds
    /// What lies behind it is less than the minimum to keep.
    case minimum
    /// The slab behind it is not known to have begun to be durable, and could not be made so: a crash
    /// has parted it from the log, which the next writer sees to, or it is just being made.
    case unproven
    /// This consumer has not acknowledged all of it.
    case consumer(String)
    /// Where this consumer stands cannot be told.
    case unreadableConsumer(String, reason: String)
    /// The task was cancelled, or an error came between.
    case interrupted

    /// For people.
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
        "held by consumer \(name), whose position cannot be told (\(reason)): set it or delete it"
      case .interrupted: "interrupted"
      }
    }
  }
}
