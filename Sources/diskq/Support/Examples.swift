// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The section EXAMPLES at the end of a verb's help, which its manual page shows as well.
///
/// A test gives every example to the parser.
enum Examples {
  /// The start of the section. `Packaging/manual` looks for it.
  static let heading = "EXAMPLES:"

  /// The section, to be appended to a discussion.
  ///
  /// - Parameter examples: each purpose in a short sentence, and a line of shell of at most 76
  ///   characters.
  static func section(_ examples: KeyValuePairs<String, String>) -> String {
    "\n\n\(heading)\n"
      + examples.map { purpose, line in "\n  # \(purpose)\n  \(line)\n" }.joined()
  }
}
