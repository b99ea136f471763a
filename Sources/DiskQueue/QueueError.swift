// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The error that the functions of this library throw.
///
/// It says what happened, in which file, and what to do. If ``loss`` is not nil, records were lost.
/// A loss is reported once, and the next call continues after it. Any other error repeats until its
/// cause is gone.
public struct QueueError: Error, Sendable {
  /// What happened.
  ///
  /// A later version may add cases. So a `switch` over some of them needs a `default`, and one that
  /// names all of them needs an `@unknown default`.
  @nonexhaustive
  public enum Code: Sendable, Hashable {
    /// Another writer has the topic open, or another consumer holds the name.
    case locked
    /// The path is not a topic, but a file, a link, or a directory of other files.
    case notATopic
    /// There is nothing at the path. ``Topic/waitUntilCreated()`` waits for a topic there.
    case noSuchTopic
    /// A newer version wrote the slab or the cursor, or it belongs to another topic.
    case unsupportedFormat
    /// An option or an argument is out of its bounds.
    ///
    /// The message names it, and states its bounds.
    case invalidOption
    /// The payload is larger than the limit of the topic, its cap, the writer or the reader.
    ///
    /// Nothing was written.
    case payloadTooLarge
    /// The writer or the consumer was closed.
    case closed
    /// The waiting task was cancelled.
    ///
    /// If it was appending, ``QueueError/appended`` says whether the record is in the log.
    case cancelled
    /// No record starts at the address.
    ///
    /// ``QueueError/address`` is the start of the record that contains it, if there is one.
    case notARecord
    /// All 2^24 epochs were used, one for each unclean end. Start a new topic.
    case addressesExhausted
    /// Records were lost to damage.
    case damaged(Loss)
    /// Records were cleaned before they were read.
    case cleaned(Loss)
    /// A crash took back records that had been read.
    case discarded(Loss)
    /// The position is past the end of the topic.
    case beyondLatest
    /// A codec refused a value or a payload.
    case notCoded
    /// The disk, the quota or the memory is full.
    ///
    /// Earlier records are intact. Appending works again when there is space.
    case noSpace
    /// Stable storage refused data.
    ///
    /// The error is final for this writer or consumer. A new one recovers.
    case syncFailed
    /// The lock, a slab or a cursor was removed, renamed or replaced while it was in use.
    ///
    /// Everything that the last successful sync covered was in the topic at that time. Later
    /// records may be lost. The error is final for this writer or consumer. Find out what changes
    /// the topic's files, and open a new one.
    case fileRemoved
    /// A consumer's cursor is damaged. Reset the consumer to a position, or delete it.
    case damagedCursor
    /// The topic has no consumer with this name.
    case noSuchConsumer
    /// There is something at the path, or the topic has a consumer with this name.
    ///
    /// Nothing was changed.
    case alreadyExists
    /// A system call failed for another reason.
    case system(errno: Int32)
  }

  private final class Storage: Sendable {
    let code: Code
    let message: String
    let path: String?
    let address: Address?
    let errno: Int32?
    let underlyingError: (any Error)?
    let location: SourceLocation

    init(
      code: Code, message: String, path: String?, address: Address?, errno: Int32?,
      underlyingError: (any Error)?, location: SourceLocation
    ) {
      self.code = code
      self.message = message
      self.path = path
      self.address = address
      self.errno = errno
      self.underlyingError = underlyingError
      self.location = location
    }
  }

  // Boxed: an error that is one word long adds no cost to the paths that do not fail.
  private let storage: Storage

  /// What happened, for the program to handle.
  public var code: Code { storage.code }
  /// A sentence for people that says what happened and what to do.
  public var message: String { storage.message }
  /// The file or directory that the error concerns.
  public var path: String? { storage.path }
  /// The address that the error concerns.
  public var address: Address? { storage.address }
  /// The operating system's error code, if a system call failed.
  public var errno: Int32? { storage.errno }
  /// The codec's own error, if the code is `notCoded`. Otherwise nil.
  ///
  /// ``message`` adds advice for a programmer. So use this error as the reason of a dead letter.
  public var underlyingError: (any Error)? { storage.underlyingError }
  /// The place in the library's source that made the error.
  public var location: SourceLocation { storage.location }

  /// The number of records, of a batch or of a single append, that were appended before this error.
  ///
  /// Do not append them again. They are in the log, with these exceptions:
  ///
  /// - After `noSpace` or `system`, some may still wait in the writer's buffer. The next flush that
  ///   succeeds stores them. If the process ends before, they are lost.
  /// - After `syncFailed` or `fileRemoved`, they may be lost.
  public internal(set) var appended = 0

  /// Whether the error permanently ends the writer or the consumer that throws it.
  var isFinal: Bool { code == .syncFailed || code == .fileRemoved }

  /// The records that were lost, or nil for any other error.
  ///
  /// A loss is reported once, and the next call continues after it.
  public var loss: Loss? {
    switch code {
    case .damaged(let loss), .cleaned(let loss), .discarded(let loss): loss
    default: nil
    }
  }

  package init(
    _ code: Code, _ message: String, path: String? = nil, address: UInt64? = nil,
    errno: Int32? = nil, underlyingError: (any Error)? = nil, fileID: StaticString = #fileID,
    line: UInt = #line
  ) {
    storage = Storage(
      code: code, message: message, path: path, address: address.map(Address.init(rawValue:)),
      errno: errno, underlyingError: underlyingError,
      location: SourceLocation(fileID: fileID, line: line))
  }

  /// A place in the library's source.
  public struct SourceLocation: Sendable, CustomStringConvertible {
    /// The module and the file, in the form of `#fileID`.
    public let fileID: StaticString
    /// The line in the file, from 1.
    public let line: UInt
    /// The file and the line, in the form `FILE:LINE`.
    public var description: String { "\(fileID):\(line)" }
  }
}

extension QueueError: CustomStringConvertible {
  /// The message, the path and the address, on one line.
  public var description: String {
    var text = message
    if let path { text += " [\(path)]" }
    if let address { text += " [address \(address)]" }
    return text
  }
}

// MARK: - One factory for each cause

extension QueueError {
  /// A failed system call, with advice for its cause.
  ///
  /// - Parameter doing: The activity that failed, for example "writing a slab".
  package static func system(
    _ error: SystemError, doing: String, path: String, address: UInt64? = nil,
    fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    let code: Code =
      switch error.errno {
      case Errno.noSpace, Errno.quota: .noSpace
      default: .system(errno: error.errno)
      }
    let advice =
      switch error.errno {
      // A new empty file needs no block, but it needs an inode.
      case Errno.noSpace where error.makesName:
        ". Everything stored before is intact: remove some files, or free some space, and try again"
          + " (df -i shows whether the file system has run out of inodes)"
      case Errno.noSpace, Errno.quota:
        ". Everything stored before is intact: free some space, and try again"
      case Errno.access: ": check the owner and the permissions of the topic"
      case Errno.readOnly: ": the file system is mounted read-only"
      case Errno.io: ": the disk or its connection failed, and the kernel's log (dmesg) says more"
      case Errno.tooManyFiles:
        ": close some files or topics, or raise the number of files that this process may open"
          + " (ulimit -n)"
      case Errno.notSupported where error.call.description == "openat":
        ". It is not a regular file: remove it from the topic"
      case Errno.notSupported:
        ". The file system does not support this call: store topics on one that does"
      case Errno.tooManyLinks: ". It is a symbolic link, and DiskQueue does not follow it"
      default: ""
      }
    let what = "\(doing) failed in \(error.call): \(Syscalls.describe(error.errno))\(advice)"
    return QueueError(
      code, what, path: path, address: address, errno: error.errno, fileID: fileID, line: line)
  }

  /// The operating system refused to watch a directory.
  static func watchFailed(
    _ error: SystemError, path: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    let advice =
      switch error.errno {
      // This does not mean the disk: inotify_add_watch(2) reports its own limit.
      case Errno.noSpace:
        ". This user has reached the system's limit of watched directories: raise the sysctl"
          + " fs.inotify.max_user_watches, or follow fewer topics"
      case Errno.tooManyFiles:
        ": raise the sysctl fs.inotify.max_user_instances, or the number of files that this process"
          + " may open (ulimit -n)"
      default: ""
      }
    return QueueError(
      .system(errno: error.errno),
      "watching the topic failed in \(error.call): \(Syscalls.describe(error.errno))\(advice)",
      path: path, errno: error.errno, fileID: fileID, line: line)
  }

  /// The operating system refused to watch a directory, and the library polls instead.
  static func polling(_ error: SystemError, path: String) -> QueueError {
    let failure = watchFailed(error, path: path)
    return QueueError(
      failure.code, failure.message + ". Until then DiskQueue polls four times a second",
      path: path, errno: error.errno)
  }

  static func syncFailed(
    _ error: SystemError, path: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    let advice =
      if error.errno == Errno.notSupported || error.errno == Errno.invalid {
        "the file system does not support this call: store topics on one that does"
      } else {
        "close it and open a new one, which recovers the topic"
      }
    return QueueError(
      .syncFailed,
      "stable storage refused data (\(error.call): \(Syscalls.describe(error.errno))). This writer"
        + " accepts no more records: \(advice)",
      path: path, errno: error.errno, fileID: fileID, line: line)
  }

  /// - Parameter isLookup: Whether the lost record was looked up. No reading goes on after it.
  static func loss(
    _ loss: Loss, path: String?, isLookup: Bool = false, fileID: StaticString = #fileID,
    line: UInt = #line
  ) -> QueueError {
    let code: Code =
      switch loss.cause {
      case .damaged: .damaged(loss)
      case .cleaned: .cleaned(loss)
      case .discarded: .discarded(loss)
      }
    return QueueError(
      code, isLookup ? "\(loss)" : "\(loss). The next call continues after it", path: path,
      address: loss.addresses.lowerBound.rawValue, fileID: fileID, line: line)
  }

  /// - Parameter what: The object that was closed.
  static func closed(
    _ what: StaticString = "writer", path: String, fileID: StaticString = #fileID,
    line: UInt = #line
  ) -> QueueError {
    QueueError(
      .closed, "the \(what) was closed: open a new one", path: path, fileID: fileID, line: line)
  }

  static func invalidOption(
    _ message: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    QueueError(.invalidOption, message, fileID: fileID, line: line)
  }
}

extension SystemError {
  /// Whether the call failed to create a name: of a file, a directory or a link.
  fileprivate var makesName: Bool {
    ["open", "openat", "mkdir", "mkdirat", "linkat"].contains(call.description)
  }
}
