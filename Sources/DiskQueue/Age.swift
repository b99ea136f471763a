// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How long ago something happened, for positions and for retention.
///
/// An age is normally 0 or positive. The type also allows a negative age, which means a time in the
/// future.
public struct Age: Sendable, Hashable, Comparable {
  /// The time that has passed. A negative duration means a time in the future.
  public var duration: Duration

  /// Makes an age from a duration of any length. The duration may be negative.
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
}
