// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A directory of this run. `remove` removes it with everything in it.
package struct Scratch: Sendable {
  package let path: String

  package init(in directory: String?) throws {
    let parent = directory ?? FileManager.default.temporaryDirectory.path
    path = parent + "/diskqueue-benchmark-" + UUID().uuidString
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true)
  }

  /// An existing directory, for files that must outlive this process.
  package init(at path: String) { self.path = path }

  /// Makes a fresh directory. Removes an earlier one of this name, so that write-back has nothing
  /// left to do.
  package func fresh(_ name: String) throws -> String {
    let directory = path + "/" + name
    if FileManager.default.fileExists(atPath: directory) {
      try FileManager.default.removeItem(atPath: directory)
    }
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: false)
    return directory
  }

  /// Removes such a directory with everything in it.
  package func empty(_ name: String) throws {
    try FileManager.default.removeItem(atPath: path + "/" + name)
  }

  /// Removes the directory. Retries if another thread or process still makes files in it.
  package func remove() {
    for _ in 0..<100 where FileManager.default.fileExists(atPath: path) {
      try? FileManager.default.removeItem(atPath: path)
    }
  }
}

/// The seconds that `body` takes, by the monotonic clock.
package func seconds(_ body: () throws -> Void) rethrows -> Double {
  try ContinuousClock().measure(body) / .seconds(1)
}

extension [Double] {
  /// The middle figure, or the mean of the two in the middle. 0 if there are none.
  package var median: Double {
    let sorted = sorted()
    guard !sorted.isEmpty else { return 0 }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
}
