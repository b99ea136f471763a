// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A promise was broken, or a check could not be done.
struct Broken: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// - Throws: `Broken` with the sentence, if the condition does not hold.
func check(_ holds: Bool, _ sentence: @autoclosure () -> String) throws(Broken) {
  guard holds else { throw Broken(sentence()) }
}
