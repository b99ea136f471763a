// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// One log: a directory, or memory.
///
/// A string literal names a directory. For a path in a variable call ``init(_:)``:
///
/// ```swift
/// let writer = try QueueWriter(topic: "sensors")
///
/// let path = CommandLine.arguments[1]
/// let reader = try QueueReader(topic: Topic(path))
/// ```
///
/// | path | topic |
/// |---|---|
/// | `String`, `Substring` | `Topic(path)` |
/// | `URL` | `try Topic(url)`, from the product `DiskQueueFoundation` |
/// | `FilePath` of the module `System` on Darwin | `Topic(path)` |
/// | `FilePath` of the package swift-system | `Topic(path.string)` |
public struct Topic: Sendable, Hashable, ExpressibleByStringInterpolation, CustomStringConvertible {
  private enum TopicLocation: Sendable {
    case directory(String)
    case storage(any TopicStorage)
    case memory(MemoryStorage, MemoryBounds)
  }

  private let location: TopicLocation

  /// Names the topic in a directory. Nothing is opened or created yet.
  ///
  /// The working directory at the moment of opening resolves a relative path. The directory itself
  /// must not be a symbolic link. End the path with a slash to follow one.
  public init(_ path: some StringProtocol) { location = .directory(String(path)) }

  /// Names the topic in the directory that the literal states, as ``init(_:)`` does.
  public init(stringLiteral path: String) { self.init(path) }

  package init(storage: any TopicStorage) { location = .storage(storage) }

  init(memory storage: MemoryStorage, _ bounds: MemoryBounds) {
    location = .memory(storage, bounds)
  }

  /// The storage of a topic that is not in a directory.
  private var storage: (any TopicStorage)? {
    switch location {
    case .directory: nil
    case .storage(let storage): storage
    case .memory(let storage, _): storage
    }
  }

  /// The bounds of a topic in memory.
  var memoryBounds: MemoryBounds? {
    if case .memory(_, let bounds) = location { bounds } else { nil }
  }

  /// The path of the directory, or a text that replaces it for a topic in memory.
  public var description: String {
    directoryPath ?? storage?.path ?? ""
  }

  /// Returns whether both values name the same path, or the same topic in memory.
  public static func == (left: Topic, right: Topic) -> Bool {
    left.directoryPath == right.directoryPath && left.storage === right.storage
  }

  /// Hashes the path, or the identity of the topic in memory.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(directoryPath)
    hasher.combine(storage.map { ObjectIdentifier($0) })
  }

  // MARK: Opening

  /// Opens the topic's files for reading. Creates and changes nothing.
  ///
  /// - Parameter permissions: The permissions of files that are created in the topic later.
  package func openForReading(
    permissions: TopicPermissions = .init()
  ) throws(QueueError) -> any TopicStorage {
    switch location {
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

  /// Opens the topic's files for writing. Creates the directory, durably, if it does not exist.
  func openForWriting(permissions: TopicPermissions) throws(QueueError) -> any TopicStorage {
    switch location {
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

  /// The path of the directory, if the topic is in one.
  var directoryPath: String? {
    if case .directory(let path) = location { path } else { nil }
  }

  /// The path of the directory without slashes at its end, if the topic is in one.
  var trimmedPath: Substring? {
    guard var path = directoryPath?[...] else { return nil }
    while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
    return path
  }

  /// Returns this topic with a path that is independent of the working directory, for files that
  /// are opened later. The current working directory resolves it.
  func anchored() -> Topic {
    guard let path = directoryPath, !path.isEmpty, !path.hasPrefix("/"),
      let directory = Syscalls.workingDirectory()
    else { return self }
    return Topic((directory == "/" ? "" : directory) + "/" + path)
  }

  /// Whether both topics have the same name. Slashes at the end of a path do not count.
  func isSame(as other: Topic) -> Bool {
    if let path = trimmedPath { path == other.trimmedPath } else { self == other }
  }
}

extension Topic {
  /// The position at which reading begins.
  public struct Position: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
      case earliest
      case latest
      case address(UInt64)
      case ordinal(UInt64)
      case time(UInt64)
      case ago(Age)
    }

    let kind: Kind

    /// The first record that the topic still has.
    public static var earliest: Position { Position(kind: .earliest) }

    /// The end of the log: only records that are appended from now on.
    public static var latest: Position { Position(kind: .latest) }

    /// The record at this address.
    ///
    /// If that record was damaged or cleaned, or the address is in a gap, reading begins at the
    /// next record.
    ///
    /// Address 0 is the earliest record. Two kinds of addresses are refused:
    ///
    /// - An address inside a record, with `notARecord`.
    /// - An address past the end, with `beyondLatest`.
    public static func address(_ a: Address) -> Position { Position(kind: .address(a.rawValue)) }

    /// The record with this ordinal, counted from 0.
    public static func ordinal(_ n: UInt64) -> Position { Position(kind: .ordinal(n)) }

    /// All records that were appended at this time or later, and some from before it.
    ///
    /// Records have no timestamps of their own, so reading begins at the last mark before the time.
    /// That is up to 64 KiB of records earlier, or a second of records, whichever is more.
    ///
    /// - Parameter t: The time since 1970-01-01T00:00:00Z.
    public static func time(since1970 t: Duration) -> Position {
      Position(kind: .time(t.clampedNanoseconds))
    }

    /// All records of this age or younger, and some older ones, as for `time`.
    ///
    /// The age is subtracted from the current time. A negative age is refused with `invalidOption`.
    public static func ago(_ age: Age) -> Position { Position(kind: .ago(age)) }
  }
}

extension Duration {
  /// The duration in whole nanoseconds, from 0 to `UInt64.max`.
  var clampedNanoseconds: UInt64 {
    // The checks precede `components`: the components of the longest durations exceed their type.
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
        .notATopic, "a topic is a directory, but this path is empty: name one", path: nil,
        errno: error.errno)
    case Errno.invalid where path.utf8.contains(0):
      QueueError(
        .notATopic, "a path cannot contain the character NUL: name another path",
        path: path.split(separator: "\0", omittingEmptySubsequences: false).joined(
          separator: "\\0"),
        errno: error.errno)
    case Errno.noEntry:
      QueueError(
        .noSuchTopic, "there is no topic at this path: check it, or append to create one",
        path: path, errno: error.errno)
    case Errno.notDirectory, Errno.tooManyLinks:
      QueueError(
        .notATopic,
        Syscalls.isSymbolicLink(path)
          ? "a topic is a directory, but this path is a symbolic link: name its target"
          : "a topic is a directory, but this path is a file or leads through one: name another",
        path: path, errno: error.errno)
    default:
      .system(error, doing: "opening the topic", path: path)
    }
  }
}
