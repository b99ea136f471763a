// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How much may wait before a writer acts by itself: a number of records, of bytes, or a time.
///
/// The bound that is reached first counts. If a number is reached, the append that reaches it does
/// the work before it returns. A time counts from the first record that waits. When it has passed,
/// the writer's own thread does the work, even if nothing more is appended.
///
/// ```swift
/// var options = QueueWriter.Options()
/// options.syncEvery = .seconds(0.5)
/// options.flushEvery = Threshold(records: 1_000, time: .milliseconds(20))
/// ```
public struct Threshold: Sendable, Hashable, CustomStringConvertible {
  /// The number of appended records. At least 1. nil: no such bound.
  public var records: UInt64?
  /// The number of bytes of the log, which includes 8 bytes per record and the marks. At least 1.
  /// nil: no such bound.
  public var bytes: ByteCount?
  /// The time since the first record that waits. At least a microsecond. nil: no such bound.
  public var time: Duration?

  /// Makes a threshold.
  ///
  /// Each bound counts from the last time that the work was done. nil: no such bound.
  ///
  /// - Parameters:
  ///   - records: The number of appended records. At least 1.
  ///   - bytes: The number of bytes of the log, which includes 8 bytes per record and the marks. At
  ///     least 1.
  ///   - time: The time since the first record that waits. At least a microsecond.
  public init(records: UInt64? = nil, bytes: ByteCount? = nil, time: Duration? = nil) {
    self.records = records
    self.bytes = bytes
    self.time = time
  }

  /// Never: the writer does the work only when the caller requests it.
  public static let never = Threshold()
  /// After `n` records. At least 1.
  public static func records(_ n: UInt64) -> Threshold { Threshold(records: n) }
  /// After `n` bytes of the log. At least 1.
  public static func bytes(_ n: ByteCount) -> Threshold { Threshold(bytes: n) }
  /// When this time has passed since the first record that waits. At least a microsecond.
  public static func time(_ time: Duration) -> Threshold { Threshold(time: time) }
  /// `n` seconds after the first record that waits. A value out of range saturates.
  public static func seconds(_ n: some BinaryInteger) -> Threshold {
    Threshold(time: .seconds(Int64(clamping: n)))
  }
  /// `n` seconds after the first record that waits, at least a microsecond: `.seconds(0.5)`.
  ///
  /// A value out of range saturates. A value that is no number counts as 0, which is refused.
  public static func seconds(_ n: Double) -> Threshold { nanoseconds(n * 1e9) }
  /// `n` milliseconds after the first record that waits. A value out of range saturates.
  public static func milliseconds(_ n: some BinaryInteger) -> Threshold {
    Threshold(time: .milliseconds(Int64(clamping: n)))
  }
  /// `n` milliseconds after the first record that waits, at least a microsecond.
  ///
  /// A value out of range saturates. A value that is no number counts as 0, which is refused.
  public static func milliseconds(_ n: Double) -> Threshold { nanoseconds(n * 1e6) }

  private static func nanoseconds(_ n: Double) -> Threshold {
    let rounded = n.isNaN ? 0 : n.rounded()
    return Threshold(
      time: .nanoseconds(Int64(exactly: rounded) ?? (rounded < 0 ? .min : .max)))
  }

  /// The bounds in words: "1000 records or 0.02 seconds", or "never".
  public var description: String {
    let bounds = [
      records.map { $0 == 1 ? "1 record" : "\($0) records" }, bytes?.description, time?.words,
    ].compactMap(\.self)
    return bounds.isEmpty ? "never" : bounds.joined(separator: " or ")
  }

  func validate(_ name: String) throws(QueueError) {
    guard records ?? 1 >= 1, bytes?.bytes ?? 1 >= 1, time ?? .seconds(1) >= .microseconds(1)
    else {
      throw .invalidOption(
        "\(name) must be at least 1 record, 1 byte or 1 microsecond: use never to switch it off")
    }
  }
}
