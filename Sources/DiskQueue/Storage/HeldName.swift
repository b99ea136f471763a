// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A name that must lead to one file for as long as a writer or a consumer has that file open.
///
/// A sync makes bytes durable in a file, whatever name leads to it. If the name was removed, or leads
/// to another file now, nobody finds those bytes again. So whoever reports that something is durable
/// checks the name after the sync, and before the report.
package final class HeldName: Sendable {
  package let name: String
  /// Kept open: the system may give the identity of a file that is gone to another one.
  private let opened: any AnyObject & Sendable
  private let identity: FileIdentity
  /// Of the directory when the name was last seen to lead to the file, or 0.
  private let seenAt = Atomic<UInt64>(0)

  /// - Complexity: one fstat(2).
  package init(_ name: String, leadingTo file: any StorageFile) throws(SystemError) {
    self.name = name
    opened = file
    identity = try file.identity()
  }

  /// - Parameter directory: was just opened by the name, in `parent`.
  /// - Returns: nil if no such name is in `parent` any more.
  /// - Complexity: one fstatat(2).
  package init?(
    _ name: String, leadingTo directory: any StorageDirectory, in parent: any StorageDirectory
  ) throws(SystemError) {
    guard let identity = try parent.identity(of: name) else { return nil }
    self.name = name
    self.identity = identity
    opened = directory
  }

  /// Whether the name leads to the file.
  ///
  /// - Complexity: one fstatat(2).
  package func leads(in directory: any StorageDirectory) throws(SystemError) -> Bool {
    try directory.identity(of: name) == identity
  }

  /// Throws if the name does not lead to the file any more.
  ///
  /// - Parameters:
  ///   - directory: where the name is.
  ///   - stamp: of the directory's names, taken before this call. If the name was seen to lead to the
  ///     file under the same stamp, it does so still.
  ///   - holder: has the file open, for the message.
  ///   - mayBeGone: whether it is right that there is no such name. Asked only if there is none.
  /// - Throws: `fileRemoved`. `syncFailed` if the system cannot tell. Both are final for the holder.
  /// - Complexity: one fstatat(2), or no call if the stamp tells.
  package func check(
    in directory: any StorageDirectory, at stamp: NamesStamp? = nil,
    heldBy holder: StaticString = "writer",
    unless mayBeGone: () throws(SystemError) -> Bool = { false }
  ) throws(QueueError) {
    if let stamp, seenAt.load(ordering: .relaxed) == stamp.rawValue { return }
    let found: FileIdentity?
    do throws(SystemError) {
      found = try directory.identity(of: name)
      if found == nil, try mayBeGone() { return }
    } catch {
      throw .syncFailed(error, path: directory.path + "/" + name)
    }
    guard found == identity else {
      throw .fileRemoved(name, isReplaced: found != nil, in: directory, heldBy: holder)
    }
    seenAt.store(stamp?.rawValue ?? 0, ordering: .relaxed)
  }
}

extension QueueError {
  /// A name that must lead to an open file is gone, or leads to another file.
  fileprivate static func fileRemoved(
    _ name: String, isReplaced: Bool, in directory: any StorageDirectory,
    heldBy holder: StaticString
  ) -> QueueError {
    let consequence =
      if name == TopicLayout.lockName || name.hasSuffix(CursorName.lockSuffix) {
        "another \(holder) may be at work since"
      } else {
        "what was stored in it is not in the topic any more"
      }
    return QueueError(
      .fileRemoved,
      "the file was \(isReplaced ? "replaced" : "removed or renamed") while this \(holder) had it"
        + " open: \(consequence), and this \(holder) stores nothing more; find out what changes the"
        + " topic's files, close this \(holder), and open a new one",
      path: directory.path + "/" + name)
  }
}
