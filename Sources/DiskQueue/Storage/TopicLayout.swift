// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Names inside a topic that are not slabs.
package enum TopicLayout {
  /// The writer holds a kernel lock on it. It contains the writer's process id, for people. Never
  /// removed.
  package static let lockName = "lock"
  /// The directory of the consumers' cursors.
  package static let consumersName = "consumers"
  /// Marks a directory as that of a topic's shards, and states how many there are.
  package static let shardsName = "shards"

  /// Whether a name is that of a file that serves only as a lock: the writer's or a consumer's.
  package static func isLock(_ name: String) -> Bool {
    name == lockName || name.hasSuffix(CursorName.lockSuffix)
  }

  /// Whether a name says nothing about the purpose of its directory. Volumes have a `lost+found` in
  /// their root. Names that begin with a dot belong to tools: `.gitkeep`, `.nfs…`, `.snapshot`.
  static func isNeutral(_ name: String) -> Bool {
    name == "lost+found" || name.utf8.first == UInt8(ascii: ".")
  }
}

/// Permission bits of new files and directories.
package struct FilePermissions: Sendable {
  package var directories: UInt16
  package var files: UInt16

  package init(directories: UInt16 = 0o700, files: UInt16 = 0o600) {
    self.directories = directories
    self.files = files
  }

  /// The bits of a lock's file, from those of the files that it guards. A class of users that may
  /// not write gets none. Permission to read a file is enough to hold a read lock on it, which
  /// blocks the write lock of its rightful holder.
  package static func lock(from files: UInt16) -> UInt16 {
    var bits: UInt16 = 0o600
    for other: UInt16 in [0o060, 0o006] where files & other & 0o222 != 0 { bits |= other }
    return bits
  }
}
