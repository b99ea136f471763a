// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A position of a cursor in the log.
package struct CursorPosition: Equatable, Sendable {
  /// The address of the next record to deliver, or of a mark or a gap before it. The address
  /// decides.
  package var address: UInt64
  /// The ordinal of that record. It only serves to count.
  package var ordinal: UInt64

  package init(address: UInt64, ordinal: UInt64) {
    self.address = address
    self.ordinal = ordinal
  }
}
