// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Why a measurement could not be made.
package struct Failure: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
