// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation

/// A directory of this run's own, removed with all that is in it.
struct Scratch {
  let path: String

  init(in directory: String?) throws {
    let parent = directory ?? FileManager.default.temporaryDirectory.path
    path = parent + "/diskqueue-floor-" + UUID().uuidString
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true)
  }

  /// A fresh directory; what was there is removed, so that write-back has nothing left to do.
  func fresh(_ name: String) throws -> String {
    let directory = path + "/" + name
    if FileManager.default.fileExists(atPath: directory) {
      try FileManager.default.removeItem(atPath: directory)
    }
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: false)
    return directory
  }

  func remove() { try? FileManager.default.removeItem(atPath: path) }
}

/// Seconds that `body` takes, by the monotonic clock.
func seconds(_ body: () throws -> Void) rethrows -> Double {
  try ContinuousClock().measure(body) / .seconds(1)
}
