// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Prints a message for people to standard error, because standard output is for data.
public func say(_ message: String) {
  FileHandle.standardError.write(Data("\(message)\n".utf8))
}

/// Prints a line of data and flushes it immediately, also to a pipe.
public func printLine(_ line: String) {
  print(line)
  fflush(nil)
}
