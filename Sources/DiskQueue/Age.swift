// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How long ago something happened, for positions, retention and the age of a slab.
///
/// An age is 0 or positive. Everything that takes an age refuses a negative one with
/// `invalidOption`. For waits and for times between two events, the library uses `Duration`.
public struct Age: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The time that has passed.
  public var duration: Duration

  /// Makes an age from a duration of any length.
  public init(_ duration: Duration) { self.duration = duration }

  /// An age of `n` seconds.
  public static func seconds(_ n: Int64) -> Age { Age(.seconds(n)) }
  /// An age of `n` times 60 seconds. A value out of range saturates and never traps.
  public static func minutes(_ n: Int64) -> Age { Age(n, 60) }
  /// An age of `n` times 3,600 seconds. A value out of range saturates and never traps.
  public static func hours(_ n: Int64) -> Age { Age(n, 3600) }
  /// An age of `n` times 86,400 seconds, independent of the calendar.
  ///
  /// A value out of range saturates and never traps.
  public static func days(_ n: Int64) -> Age { Age(n, 86_400) }

  /// Saturates. A multiplication of `Duration` would trap instead.
  private init(_ count: Int64, _ unit: Int64) {
    let (seconds, overflow) = count.multipliedReportingOverflow(by: unit)
    self.init(.seconds(overflow ? (count < 0 ? .min : .max) : seconds))
  }

  /// Returns whether the left age is the younger one.
  public static func < (left: Age, right: Age) -> Bool { left.duration < right.duration }

  /// The age in the largest unit, up to days, that divides it: "7 days", "90 minutes",
  /// "0.5 seconds".
  public var description: String { duration.words }

  func validate(_ name: String) throws(QueueError) {
    guard duration >= .zero else {
      throw .invalidOption("\(name) is \(self), and must not be negative")
    }
  }
}

extension Duration {
  /// The duration in the largest unit, up to days, that divides it. In seconds, to the nanosecond,
  /// if it is no whole number of seconds.
  package var words: String {
    // The shortest one has no counterpart.
    guard self >= .zero else { return "-" + (.zero - max(self, .seconds(-Int64.max))).words }
    // The components of a longer duration exceed their type.
    let (seconds, attoseconds) = min(self, .seconds(Int64.max)).components
    guard attoseconds < 1_000_000_000 else {
      var fraction = String(attoseconds / 1_000_000_000)
      fraction = String(repeating: "0", count: 9 - fraction.utf8.count) + fraction
      while fraction.last == "0" { fraction.removeLast() }
      return "\(seconds).\(fraction) seconds"
    }
    let units: [(Int64, String)] = [(86_400, "day"), (3600, "hour"), (60, "minute")]
    let (size, unit) =
      units.first { seconds != 0 && seconds.isMultiple(of: $0.0) } ?? (1, "second")
    return "\(seconds / size) \(unit)\(seconds == size ? "" : "s")"
  }
}
