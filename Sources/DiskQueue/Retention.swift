// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How much of a topic to keep when it is cleaned.
///
/// A slab is removed only when all of it lies beyond a bound: it is older than ``age``, or lies
/// before the newest ``bytes``, or before the newest ``records``. Any one bound suffices. So what
/// stays is at least what every bound says; it is more by up to a slab, and by what holds slabs
/// whatever the bounds say: ``minimumBytes``, ``consumers``, the last slab, and a slab that is not
/// yet certain to be needless. Without any bound nothing is removed.
public struct Retention: Sendable, Hashable {
  /// Which consumers hold what they have not acknowledged.
  @nonexhaustive
  public enum Consumers: Sendable, Hashable {
    /// All.
    case protected
    /// None: a consumer that falls behind is told what it missed.
    case ignored
    /// These, by name. One that does not exist is refused with `invalidOption`: a name that is
    /// spelt wrongly must not cost its records.
    case only(Set<String>)
    /// All but these. Names without a consumer do no harm.
    case except(Set<String>)
  }

  /// Slabs whose newest record is older than this go. nil, the default: however old.
  ///
  /// The present is the newest time that the topic bears, where the clock is ahead of it: an idle
  /// topic does not age. What bears a time in the future is not old.
  public var age: Age?

  /// Slabs before the newest so many bytes go; the bytes of files, headers and marks included. nil,
  /// the default: however many.
  public var bytes: ByteCount?

  /// Slabs before the newest so many records go; damaged ones count. nil, the default: however many.
  /// It finds no slab of which nobody knows how many records lie behind it.
  public var records: UInt64?

  /// Kept whatever the bounds say: so many of the newest bytes, counting only what is certainly
  /// durable. 1 MiB by default: a clock or a bound that is wrong does not empty a topic.
  public var minimumBytes: ByteCount

  /// Which consumers hold what they have not acknowledged, whatever the bounds say. All by default:
  /// losing records to a cleaner takes a decision.
  public var consumers: Consumers

  /// How much to keep; without arguments, everything.
  ///
  /// - Parameters:
  ///   - age: slabs whose newest record is older go; nil: however old.
  ///   - bytes: slabs before the newest so many bytes go; nil: however many.
  ///   - records: slabs before the newest so many records go; nil: however many.
  ///   - minimumBytes: kept whatever the bounds say; 1 MiB by default.
  ///   - consumers: who holds what they have not acknowledged; all by default.
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

  /// - Throws: `invalidOption` for a negative age or number of bytes, and for a name that no
  ///   consumer can have.
  public func validate() throws(QueueError) {
    if let age, age.duration < .zero {
      throw .invalidOption("age is \(age.duration), and must not be negative")
    }
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
  /// Whether the consumer of this name is protected.
  func protects(_ name: String) -> Bool {
    switch self {
    case .protected: true
    case .ignored: false
    case .only(let names): names.contains(name)
    case .except(let names): !names.contains(name)
    }
  }
}
