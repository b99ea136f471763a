// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Names inside a topic that are not slabs.
package enum TopicLayout {
  /// The writer holds a kernel lock on it; its process id stands in it, for people. Never removed.
  package static let lockName = "lock"
  /// The directory of the consumers' cursors.
  package static let consumersName = "consumers"
  /// Says that the directory holds the shards of a topic, and how many.
  package static let shardsName = "shards"

  /// Whether a name is that of a file that serves as a lock alone: the writer's or a consumer's.
  package static func isLock(_ name: String) -> Bool {
    name == lockName || name.hasSuffix(CursorName.lockSuffix)
  }

  /// Whether a name in a directory says nothing of what the directory is for. Volumes have a
  /// `lost+found` in their root. Names that begin with a dot belong to tools: `.gitkeep`, `.nfs…`,
  /// `.snapshot`.
  static func isNeutral(_ name: String) -> Bool {
    name == "lost+found" || name.utf8.first == UInt8(ascii: ".")
  }
}

/// Permission bits of what is made.
package struct FilePermissions: Sendable {
  package var directories: UInt16
  package var files: UInt16

  package init(directories: UInt16 = 0o700, files: UInt16 = 0o600) {
    self.directories = directories
    self.files = files
  }

  /// The bits of a lock's file, from those of the files that it guards: a class of users that may not
  /// write gets none. To read a file is enough to hold a read lock on it, which keeps the write lock
  /// of its rightful holder away.
  package static func lock(from files: UInt16) -> UInt16 {
    var bits: UInt16 = 0o600
    for other: UInt16 in [0o060, 0o006] where files & other & 0o222 != 0 { bits |= other }
    return bits
  }
}
