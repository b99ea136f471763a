// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The permission bits of a new topic's directory and files, less the umask.
///
/// ```swift
/// var options = QueueWriter.Options()
/// options.permissions = .groupReadable
/// ```
///
/// An existing topic keeps its permissions. In it, a new file gets the bits of the newest slab, and
/// a new directory those of the topic's directory. The file `lock` has no permissions for a class
/// of users that must not write.
public struct TopicPermissions: Sendable, Hashable {
  /// The bits of directories, from 0 to 0777 in octal.
  public var directories: UInt16
  /// The bits of files, from 0 to 0777 in octal.
  public var files: UInt16

  /// Makes permissions. The options that hold them refuse other bits with `invalidOption`.
  ///
  /// - Parameters:
  ///   - directories: The bits of directories, from 0 to 0777 in octal. 0700 by default.
  ///   - files: The bits of files, from 0 to 0777 in octal. 0600 by default.
  public init(directories: UInt16 = 0o700, files: UInt16 = 0o600) {
    self.directories = directories
    self.files = files
  }

  /// 0700 and 0600: only the owner reads and writes. The default, because payloads are private.
  public static let ownerOnly = TopicPermissions()

  /// 0750 and 0640: the owner's group reads, too.
  ///
  /// That is enough for a reader. A consumer writes its cursor, so it needs more.
  public static let groupReadable = TopicPermissions(directories: 0o750, files: 0o640)

  func validate() throws(QueueError) {
    for (name, bits) in [("directories", directories), ("files", files)] where bits > 0o777 {
      throw .invalidOption(
        "permissions.\(name) is 0\(String(bits, radix: 8)), and must be bits from 0 to 0777")
    }
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
