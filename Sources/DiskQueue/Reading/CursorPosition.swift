// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A place in the log that a cursor may stand at.
package struct CursorPosition: Equatable, Sendable {
  /// Of the next record to deliver, or of a mark or a gap before it: it decides.
  package var address: UInt64
  /// Of that record: it only counts.
  package var ordinal: UInt64

  package init(address: UInt64, ordinal: UInt64) {
    self.address = address
    self.ordinal = ordinal
  }
}
