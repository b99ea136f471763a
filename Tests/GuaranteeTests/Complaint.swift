// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What is wrong with what a scenario came to, in a sentence.
struct Complaint: Error, CustomStringConvertible {
  var description: String

  init(_ description: String) { self.description = description }
}
