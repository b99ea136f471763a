// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Everything that this library throws: what happened, where, and what to do.
///
/// If ``loss`` is not nil, records were lost; that is told once, and the next call goes on behind
/// them. Any other error repeats until its cause is gone.
public struct QueueError: Error, Sendable {
  /// What happened. Cases may be added: write a `default`.
  @nonexhaustive
  public enum Code: Sendable, Hashable {
    /// Another writer has the topic open, or another consumer the name.
    case locked
    /// There is something else at the path: a file, a link, or a directory of other files.
    case notATopic
    /// Nothing is at the path.
    case noSuchTopic
    /// A slab or a cursor was written by a newer version, or belongs to another topic.
    case unsupportedFormat
    /// An option or an argument is out of its bounds; the message names it and them.
    case invalidOption
    /// The payload is above the limit of the topic, its cap, the writer or the reader. Nothing was
    /// written.
    case payloadTooLarge
    /// The writer, or the consumer, was closed.
    case closed
    /// The task that waited was cancelled. Where it appended, ``QueueError/appended`` says whether the
    /// record is in the log all the same.
    case cancelled
    /// No record starts at the address; `address` is the start of the record it lies in, if any.
    case notARecord
    /// All 2^24 epochs were used, one for each unclean end: start a new topic.
    case addressesExhausted
    /// Records were lost to damage.
    case damaged(Loss)
    /// Records were cleaned before they were read.
    case beforeEarliest(Loss)
    /// Records that had been read were taken back by a crash.
    case discarded(Loss)
    /// The position lies behind the end of the topic.
    case beyondLatest
    /// A codec refused a value, or a payload.
    case notCoded
    /// The disk, the quota or the memory is full. What was appended before is sound, and appending
    /// goes on when there is room.
    case noSpace
    /// Stable storage refused data. Final for this writer or consumer; a new one recovers.
    case syncFailed
    /// The lock, a slab or a cursor was removed, renamed or replaced while it was in use. What the last
    /// successful sync covered was in the topic then. What came after it may be lost. Final for this
    /// writer or consumer: find out what changes the topic's files, and open a new one.
    case fileRemoved
    /// A consumer's cursor is damaged: reset the consumer to a position, or delete it.
    case damagedCursor
    /// The topic has no consumer of this name.
    case noSuchConsumer
    /// Another failure of a system call.
    case system(errno: Int32)
  }

  private final class Storage: Sendable {
    let code: Code
    let message: String
    let path: String?
    let address: Address?
    let errno: Int32?
    let location: SourceLocation

    init(
      code: Code, message: String, path: String?, address: Address?, errno: Int32?,
      location: SourceLocation
    ) {
      self.code = code
      self.message = message
      self.path = path
      self.address = address
      self.errno = errno
      self.location = location
    }
  }

  // Boxed: an error of one word costs the paths that do not fail nothing.
  private let storage: Storage

  /// What happened, for a program to decide by.
  public var code: Code { storage.code }
  /// A sentence that says what happened and what to do.
  public var message: String { storage.message }
  /// The file or directory it is about.
  public var path: String? { storage.path }
  /// The address it is about.
  public var address: Address? { storage.address }
  /// The system's own code, where a call failed.
  public var errno: Int32? { storage.errno }
  /// Where in the library it arose.
  public var location: SourceLocation { storage.location }

  /// How many records, of a batch or of a single append, landed before this error. They are in the
  /// log: do not append them again.
  public internal(set) var appended = 0

  /// Whether it permanently ends the writer or the consumer that throws it.
  var isFinal: Bool { code == .syncFailed || code == .fileRemoved }

  /// Not nil: records were lost, this is told once, and the next call goes on behind them.
  public var loss: Loss? {
    switch code {
    case .damaged(let loss), .beforeEarliest(let loss), .discarded(let loss): loss
    default: nil
    }
  }

  package init(
    _ code: Code, _ message: String, path: String? = nil, address: UInt64? = nil,
    errno: Int32? = nil, fileID: StaticString = #fileID, line: UInt = #line
  ) {
    storage = Storage(
      code: code, message: message, path: path, address: address.map(Address.init(rawValue:)),
      errno: errno, location: SourceLocation(fileID: fileID, line: line))
  }

  /// Where an error arose.
  public struct SourceLocation: Sendable, CustomStringConvertible {
    /// Module and file, as `#fileID` says.
    public let fileID: StaticString
    /// The line in the file, from 1.
    public let line: UInt
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

// MARK: - One factory a cause

extension QueueError {
  /// A failed system call, with the sentence that its cause deserves.
  ///
  /// - Parameter doing: what was being done, as in "writing a slab".
  static func system(
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
      // A file that is made empty takes no blocks, but an inode.
      case Errno.noSpace where error.makesName:
        ": nothing before it is harmed; remove some files, or free some space, and try again (df -i"
          + " shows whether the file system has run out of inodes)"
      case Errno.noSpace, Errno.quota:
        ": nothing before it is harmed; free some space, and try again"
      case Errno.access: ": check who owns the topic and its permissions"
      case Errno.readOnly: ": the file system is mounted read-only"
      case Errno.notSupported where error.call.description == "openat":
        ": it is not a plain file; remove it from the topic"
      case Errno.notSupported:
        ": the file system cannot do that; keep topics on one that can"
      case Errno.tooManyLinks: ": it is a symbolic link, and none is followed"
      default: ""
      }
    let what = "\(doing) failed in \(error.call): \(Syscalls.describe(error.errno))\(advice)"
    return QueueError(
      code, what, path: path, address: address, errno: error.errno, fileID: fileID, line: line)
  }

  /// A watch that the system does not give.
  static func watchFailed(
    _ error: SystemError, path: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    let advice =
      switch error.errno {
      // Not the disk: inotify_add_watch(2) means its own limit.
      case Errno.noSpace:
        ": this user watches as many directories as the system allows: raise the sysctl"
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

  /// The same, if changes are looked for instead.
  static func polling(_ error: SystemError, path: String) -> QueueError {
    let failure = watchFailed(error, path: path)
    return QueueError(
      failure.code, failure.message + "; until then changes are looked for four times a second",
      path: path, errno: error.errno)
  }

  static func syncFailed(
    _ error: SystemError, path: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    let advice =
      if error.errno == Errno.notSupported || error.errno == Errno.invalid {
        "the file system cannot do that: keep topics on one that can"
      } else {
        "close it, and open a new one, which recovers"
      }
    return QueueError(
      .syncFailed,
      "stable storage refused data (\(error.call): \(Syscalls.describe(error.errno))); this writer"
        + " takes no more records: \(advice)",
      path: path, errno: error.errno, fileID: fileID, line: line)
  }

  static func loss(
    _ loss: Loss, path: String?, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    let code: Code =
      switch loss.cause {
      case .damaged: .damaged(loss)
      case .cleaned: .beforeEarliest(loss)
      case .discarded: .discarded(loss)
      }
    return QueueError(
      code, "\(loss); the next call goes on behind it", path: path,
      address: loss.addresses.lowerBound.rawValue, fileID: fileID, line: line)
  }

  /// - Parameter what: was closed.
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
  /// Whether it failed to make a name: a file, a directory or a link.
  fileprivate var makesName: Bool {
    ["open", "openat", "mkdir", "mkdirat", "linkat"].contains(call.description)
  }
}
