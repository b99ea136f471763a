// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Numbers for the line that a check prints.
enum Figures {
  /// A number of bytes in MiB, with one decimal.
  static func mebibytes(_ bytes: UInt64) -> String { tenths((bytes * 10) >> 20) + " MiB" }

  /// The seconds since a moment, with one decimal.
  static func seconds(since start: UInt64) -> String {
    tenths((Posix.now() - start) / 100_000_000) + " s"
  }

  /// Nanoseconds in milliseconds, with one decimal.
  static func milliseconds(_ nanoseconds: UInt64) -> String {
    tenths(nanoseconds / 100_000) + " ms"
  }

  /// The end of a verdict: how long the check took, and its longest sync.
  static func cost(since start: UInt64) -> String {
    "\(seconds(since: start)), longest sync \(milliseconds(Syncs.longest))"
  }

  /// The rate a second, since a moment.
  static func rate(_ count: UInt64, since start: UInt64) -> UInt64 {
    UInt64(Double(count) * 1e9 / Double(max(1, Posix.now() - start)))
  }

  private static func tenths(_ number: UInt64) -> String { "\(number / 10).\(number % 10)" }
}
