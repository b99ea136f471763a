// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How much of a topic a cleaner keeps.
///
/// A cleaner removes a slab only when the whole slab is outside a bound. One bound is enough:
///
/// - The slab is older than ``age``.
/// - It is before the newest ``bytes``.
/// - It is before the newest ``records``.
///
/// So everything that is inside all bounds remains. Up to one slab more remains, and in addition
/// everything that is protected from the bounds:
///
/// - ``minimumBytes``
/// - what ``consumers`` protects
/// - the last slab
/// - a slab that recovery may still need
///
/// Without any bound nothing is removed.
public struct Retention: Sendable, Hashable {
  /// The consumers whose unacknowledged records are protected.
  @nonexhaustive
  public enum Consumers: Sendable, Hashable {
    /// All consumers are protected.
    case protected
    /// No consumer is protected.
    ///
    /// A consumer that the cleaner overtakes gets a loss with the number of missed records.
    case ignored
    /// The named consumers are protected.
    ///
    /// A name without a consumer is refused with `invalidOption`: a misspelled name must not cost
    /// records.
    case only(Set<String>)
    /// All consumers except the named ones are protected. A name without a consumer has no effect.
    case except(Set<String>)
  }

  /// Slabs whose newest record is older than this are removed. nil, the default: no bound.
  ///
  /// The age is measured from the present time. The present time is the lower of the clock and the
  /// newest timestamp in the topic. So an idle topic does not age, and records with a timestamp in
  /// the future are not old.
  public var age: Age?

  /// Slabs before the newest `bytes` are removed. nil, the default: no bound.
  ///
  /// The count includes everything in the files, with headers and marks.
  public var bytes: ByteCount?

  /// Slabs before the newest `records` are removed.
  ///
  /// nil, the default: no bound. Damaged records count. This bound removes a slab only if the
  /// number of records after the slab is known.
  public var records: UInt64?

  /// The number of newest bytes that remain regardless of the bounds. 1 MiB by default.
  ///
  /// Only bytes that are certainly durable count. The default ensures that a wrong clock or a wrong
  /// bound does not empty a topic.
  public var minimumBytes: ByteCount

  /// The consumers whose unacknowledged records remain regardless of the bounds.
  ///
  /// All consumers by default. The default ensures that a cleaner removes unread records only if
  /// you have decided so.
  public var consumers: Consumers

  /// Makes a retention. Without arguments it keeps everything.
  ///
  /// - Parameters:
  ///   - age: Slabs whose newest record is older are removed. nil: no bound.
  ///   - bytes: Slabs before the newest `bytes` are removed. nil: no bound.
  ///   - records: Slabs before the newest `records` are removed. nil: no bound.
  ///   - minimumBytes: The number of newest bytes that remain regardless of the bounds. 1 MiB by
  ///     default.
  ///   - consumers: The consumers whose unacknowledged records remain. All by default.
  public init(
    age: Age? = nil, bytes: ByteCount? = nil, records: UInt64? = nil,
    minimumBytes: ByteCount = .mebibytes(1), consumers: Consumers = .protected
  ) {
    self.age = age
    self.bytes = bytes
    self.records = records
    self.minimumBytes = minimumBytes
    self.consumers = consumers
  }

  /// Checks that all values are valid.
  ///
  /// - Throws: `invalidOption` for a negative age or number of bytes, and for a name that no
  ///   consumer can have.
  public func validate() throws(QueueError) {
    try age?.validate("age")
    if let bytes, bytes.bytes < 0 {
      throw .invalidOption("bytes is \(bytes), and must not be negative")
    }
    guard minimumBytes.bytes >= 0 else {
      throw .invalidOption("minimumBytes is \(minimumBytes), and must not be negative")
    }
    switch consumers {
    case .protected, .ignored: break
    case .only(let names), .except(let names):
      for name in names.sorted() where !CursorName.isValid(name) {
        throw .invalidConsumerName(name)
      }
    }
  }

  /// Whether there is any bound.
  var isBounded: Bool { age != nil || bytes != nil || records != nil }
}

extension Retention.Consumers {
  /// Whether the consumer with this name is protected.
  func protects(_ name: String) -> Bool {
    switch self {
    case .protected: true
    case .ignored: false
    case .only(let names): names.contains(name)
    case .except(let names): !names.contains(name)
    }
  }
}

extension Retention: CustomStringConvertible {
  /// The bounds and the protected consumers, on one line.
  public var description: String {
    let bounds = [
      age.map { "records of at most \($0)" }, bytes.map { "the newest \($0)" },
      records.map { "the newest \(Words.count($0, "record"))" },
    ].compactMap(\.self)
    guard !bounds.isEmpty else { return "keep everything" }
    let kept =
      switch consumers {
      case .protected: ", and records that a consumer has not acknowledged"
      case .ignored: ""
      case .only(let names):
        ", and records that one of these consumers has not acknowledged: "
          + names.sorted().joined(separator: ", ")
      case .except(let names):
        ", and records that a consumer has not acknowledged, except "
          + names.sorted().joined(separator: ", ")
      }
    return "keep " + bounds.joined(separator: ", within ") + ", at least \(minimumBytes)" + kept
  }
}
