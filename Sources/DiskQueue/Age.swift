// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How long ago something was, for positions and retention. Never negative by intent, not by type:
/// a negative age lies in the future.
public struct Age: Sendable, Hashable, Comparable {
  public var duration: Duration

  public init(_ duration: Duration) { self.duration = duration }

  public static func seconds(_ n: Int64) -> Age { Age(.seconds(n)) }
  public static func minutes(_ n: Int64) -> Age { Age(n, 60) }
  public static func hours(_ n: Int64) -> Age { Age(n, 3600) }
  public static func days(_ n: Int64) -> Age { Age(n, 86_400) }

  /// Saturates, where a multiplied `Duration` would trap.
  private init(_ count: Int64, _ unit: Int64) {
    let (seconds, overflow) = count.multipliedReportingOverflow(by: unit)
    self.init(.seconds(overflow ? (count < 0 ? .min : .max) : seconds))
  }

  public static func < (left: Age, right: Age) -> Bool { left.duration < right.duration }
}
