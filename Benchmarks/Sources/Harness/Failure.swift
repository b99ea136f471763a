// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The reason why a measurement failed.
package struct Failure: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
