// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// One log: a directory, or memory.
///
/// A string literal names a directory: `"sensors"`. A path held in a variable goes through
/// ``init(_:)``.
public struct Topic: Sendable, Hashable, ExpressibleByStringInterpolation, CustomStringConvertible {
  private enum Place: Sendable {
    case directory(String)
    case storage(any TopicStorage)
    case memory(MemoryStorage, MemoryBounds)
  }

  private let place: Place

  /// The topic in this directory. A relative path counts from the working directory of the moment
  /// it is opened. The directory itself may not be a symbolic link; end the path with a slash to
  /// follow one.
  public init(_ path: some StringProtocol) { place = .directory(String(path)) }

  public init(stringLiteral path: String) { self.init(path) }

  package init(storage: any TopicStorage) { place = .storage(storage) }

  init(memory storage: MemoryStorage, _ bounds: MemoryBounds) { place = .memory(storage, bounds) }

  /// The storage, of a topic that no directory holds.
  private var storage: (any TopicStorage)? {
    switch place {
    case .directory: nil
    case .storage(let storage): storage
    case .memory(let storage, _): storage
    }
  }

  /// What a topic in memory is held to.
  var memoryBounds: MemoryBounds? { if case .memory(_, let bounds) = place { bounds } else { nil } }

  /// The path, or what stands for it.
  public var description: String {
    directoryPath ?? storage?.path ?? ""
  }

  public static func == (left: Topic, right: Topic) -> Bool {
    left.directoryPath == right.directoryPath && left.storage === right.storage
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(directoryPath)
    hasher.combine(storage.map { ObjectIdentifier($0) })
  }

  // MARK: Opening

  /// Opens the topic's files; nothing is made or changed.
  ///
  /// - Parameter permissions: of what is made in the topic later.
  package func openForReading(
    permissions: FilePermissions = .init()
  ) throws(QueueError) -> any TopicStorage {
    switch place {
    case .storage(let storage): return storage
    case .memory(let storage, _): return storage
    case .directory(let path):
      do throws(SystemError) {
        return try PosixStorage(path: path, permissions: permissions)
      } catch {
        throw .topicOpeningFailed(error, path: path)
      }
    }
  }

  /// Opens the topic's files for writing; the directory is made if need be, and durable.
  func openForWriting(permissions: FilePermissions) throws(QueueError) -> any TopicStorage {
    switch place {
    case .storage(let storage): return storage
    case .memory(let storage, _): return storage
    case .directory(let path):
      do throws(SystemError) {
        return try PosixStorage(creating: path, permissions: permissions)
      } catch {
        throw .topicOpeningFailed(error, path: path)
      }
    }
  }

  /// The directory's path, if it is one.
  var directoryPath: String? {
    if case .directory(let path) = place { path } else { nil }
  }

  /// The directory's path, if it is one, without slashes at its end.
  var trimmedPath: Substring? {
    guard var path = directoryPath?[...] else { return nil }
    while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
    return path
  }

  /// This topic by a path that does not depend on the working directory: for files of it that are
  /// opened later. The working directory is the one of now.
  func anchored() -> Topic {
    guard let path = directoryPath, !path.isEmpty, !path.hasPrefix("/"),
      let place = Syscalls.workingDirectory()
    else { return self }
    return Topic((place == "/" ? "" : place) + "/" + path)
  }

  /// Whether both are named alike, but for slashes at the end.
  func isSame(as other: Topic) -> Bool {
    if let path = trimmedPath { path == other.trimmedPath } else { self == other }
  }
}

extension Topic {
  /// Where to begin reading.
  public struct Position: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
      case earliest
      case latest
      case address(UInt64)
      case ordinal(UInt64)
      case time(UInt64)
      case ago(Duration)
    }

    let kind: Kind

    /// The first record that is left.
    public static var earliest: Position { Position(kind: .earliest) }

    /// Behind the last record: only what is appended from now on.
    public static var latest: Position { Position(kind: .latest) }

    /// The record at this address, or the next one where it was damaged, cleaned or is a gap. An
    /// address inside a record is refused with `notARecord`, one behind the end with
    /// `beyondLatest`. Address 0 is the earliest record.
    public static func address(_ a: Address) -> Position { Position(kind: .address(a.rawValue)) }

    /// The record that the topic took as the n-th, from 0.
    public static func ordinal(_ n: UInt64) -> Position { Position(kind: .ordinal(n)) }

    /// Every record that was appended at this time or later, and some from before it, back to the
    /// last mark (64 KiB or a second of records, whichever is more). Not the exact record: records
    /// bear no stamp of their own.
    ///
    /// - Parameter t: time since 1970-01-01T00:00:00Z.
    public static func time(since1970 t: Duration) -> Position {
      Position(kind: .time(t.clampedNanoseconds))
    }

    /// As `time`, counted back from now.
    public static func ago(_ age: Age) -> Position { Position(kind: .ago(age.duration)) }
  }
}

extension Duration {
  /// Whole nanoseconds, from 0 to `UInt64.max`.
  var clampedNanoseconds: UInt64 {
    // Asked before the components are: those of the longest durations are beyond their type.
    guard self > .zero else { return 0 }
    guard self < .seconds(Int64(UInt64.max / 1_000_000_000)) else { return .max }
    let (seconds, attoseconds) = components
    let (product, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, carry) = product.addingReportingOverflow(UInt64(attoseconds) / 1_000_000_000)
    return overflow || carry ? .max : sum
  }
}

extension QueueError {
  /// The error for a topic's directory that cannot be opened.
  static func topicOpeningFailed(_ error: SystemError, path: String) -> QueueError {
    switch error.errno {
    case _ where path.isEmpty:
      QueueError(
        .notATopic, "a topic is a directory, and this path is empty: name one", path: path,
        errno: error.errno)
    case Errno.noEntry:
      QueueError(
        .noSuchTopic, "there is no topic at this path: check it, or append to make one",
        path: path, errno: error.errno)
    case Errno.notDirectory, Errno.tooManyLinks:
      QueueError(
        .notATopic,
        Syscalls.isSymbolicLink(path)
          ? "a topic is a directory, and this is a symbolic link: name what it leads to"
          : "a topic is a directory, and this is, or leads through, a file",
        path: path, errno: error.errno)
    default:
      .system(error, doing: "opening the topic", path: path)
    }
  }
}
