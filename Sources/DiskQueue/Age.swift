// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How long ago something was, for positions and retention. Never negative by intent, not by type:
/// a negative age lies in the future.
public struct Age: Sendable, Hashable, Comparable {
  /// How long ago; negative in the future.
  public var duration: Duration

  /// An age of any length, negative ones included.
  public init(_ duration: Duration) { self.duration = duration }

  /// So many seconds ago.
  public static func seconds(_ n: Int64) -> Age { Age(.seconds(n)) }
  /// So many times 60 seconds ago. Saturates; it never traps.
  public static func minutes(_ n: Int64) -> Age { Age(n, 60) }
  /// So many times 3,600 seconds ago. Saturates; it never traps.
  public static func hours(_ n: Int64) -> Age { Age(n, 3600) }
  /// So many times 86,400 seconds ago, whatever the calendar says. Saturates; it never traps.
  public static func days(_ n: Int64) -> Age { Age(n, 86_400) }

  /// Saturates, where a multiplied `Duration` would trap.
  private init(_ count: Int64, _ unit: Int64) {
    let (seconds, overflow) = count.multipliedReportingOverflow(by: unit)
    self.init(.seconds(overflow ? (count < 0 ? .min : .max) : seconds))
  }

  /// Whether the left one is the younger.
  public static func < (left: Age, right: Age) -> Bool { left.duration < right.duration }
}
