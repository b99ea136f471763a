// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A measurement's own directory, below one that the user names.
struct BenchScratch {
  /// The free space that it needs: a topic and a file of 64 MiB at a time, and half as much again.
  static let mostBytes: UInt64 = 192 << 20

  let path: String

  /// Makes the directory, and fails if there is too little free space.
  init(in directory: String) throws(Failure) {
    switch System.kind(directory) {
    case .directory: break
    case .nothing:
      throw Failure(
        "there is no directory at this path: make it, or name one on the disk to measure",
        path: directory)
    case .other:
      throw Failure(
        "this is no directory that diskq can enter: name one on the disk to measure",
        path: directory)
    }
    path = try System.makeUniqueDirectory(
      in: TopicPath.trimmed(directory), prefix: "diskq-bench-")
    do throws(Failure) {
      let room = try System.room(in: path)
      guard room >= Self.mostBytes else {
        throw Failure(
          "measuring needs \(HumanSize.text(Self.mostBytes)) of free space on the disk, and"
            + " \(HumanSize.text(room)) are free: free some, or name a directory on another disk",
          path: directory)
      }
    } catch {
      try remove()
      throw error
    }
  }

  /// A path in the directory.
  func at(_ name: String) -> String { "\(path)/\(name)" }

  /// Removes the directory with everything in it.
  func remove() throws(Failure) { try System.removeDirectory(path) }
}
