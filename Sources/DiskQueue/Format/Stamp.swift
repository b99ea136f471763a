// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How far a stamp may be believed.
enum Stamp {
  /// 2020-01-01. No program wrote slabs before it. An earlier stamp comes from a device that did
  /// not know the time yet, and says nothing about an age (G11).
  static let firstKnown: UInt64 = 1_577_836_800_000_000_000

  static func isKnown(_ stamp: UInt64) -> Bool { stamp >= firstKnown }
}
