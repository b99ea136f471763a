// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Version 1: topics written by queuefka (Q2 of the format). A slab has no header and no marks, only
//
//   frames, 8 bytes and the payload each
//   +0   u32        payload bytes n (as the original program writes it), or
//                   4 + n (as it documents it)
//   +4   u32        XXH32(payload, seed 0)
//   +8              payload

/// Which of the two lengths the frames of a version 1 slab state.
package enum Version1Length: UInt32, Sendable {
  case payload = 0
  case payloadAndChecksum = 4

  /// The payload bytes that a length word states. Nil if it cannot be a length.
  func payloadBytes(_ word: UInt32) -> UInt32? {
    let (count, underflow) = word.subtractingReportingOverflow(rawValue)
    return underflow ? nil : count
  }
}
