// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Says something to people: on standard error, as data is on standard output.
public func say(_ message: String) {
  FileHandle.standardError.write(Data("\(message)\n".utf8))
}

/// Prints a line of data, and hands it over at once, also to a pipe.
public func printLine(_ line: String) {
  print(line)
  fflush(nil)
}
