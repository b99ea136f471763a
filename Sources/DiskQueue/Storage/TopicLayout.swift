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
