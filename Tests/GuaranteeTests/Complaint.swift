// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The fault in the result of a scenario, as a sentence.
struct Complaint: Error, CustomStringConvertible {
  var description: String

  init(_ description: String) { self.description = description }
}
