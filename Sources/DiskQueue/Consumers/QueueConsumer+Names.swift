// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// A topic's consumers by name: what can be done without holding one.

extension QueueConsumer {
  /// A consumer of a topic, as its cursor's file says.
  public struct Description: Sendable, Hashable {
    /// What the file of a cursor turned out to be.
    @nonexhaustive
    public enum State: Sendable, Hashable {
      /// Its position is known.
      case sound
      /// It was made, and its first position was not written: it begins anew when it is opened.
      case neverWritten
      /// Its position is not known: reset it, or delete it. Where its file is no plain one, but a
      /// link, a directory or a pipe, both fail with `system`: remove that by hand. A cleaner that
      /// protects consumers removes nothing before.
      case damaged
      /// A newer version wrote it.
      case unsupported
    }

    /// The consumer's name.
    public var name: String
    /// What its file turned out to be.
    public var state: State
    /// Everything below it is acknowledged; nil where it is not known.
    public var position: Address?
    /// How many records the topic took before it.
    public var ordinal: UInt64?
  }

  /// A topic's consumers, by name. Needs no lock, and no write permission.
  ///
  /// - Throws: `noSuchTopic`, `notATopic`, `system`.
  /// - Complexity: a listing of the topic and of its consumers, and a read for each of them.
  public static func consumers(of topic: Topic) throws(QueueError) -> [Description] {
    let storage = try topic.openForReading()
    _ = try TopicIndex.slabs(in: storage)
    var names: [String] = []
    let directory: any StorageDirectory
    do throws(SystemError) {
      directory = try storage.consumers(creating: false)
      try directory.forEachName { file in
        if let name = CursorName.parse(file) { names.append(name) }
      }
    } catch {
      guard error.errno != Errno.noEntry else { return [] }
      throw .system(
        error, doing: "listing the consumers",
        path: storage.path + "/" + TopicLayout.consumersName)
    }
    var descriptions: [Description] = []
    for name in names.sorted() {
      if let description = try describe(name, in: directory) { descriptions.append(description) }
    }
    return descriptions
  }

  /// nil: it is gone.
  private static func describe(
    _ name: String, in directory: any StorageDirectory
  ) throws(QueueError) -> Description? {
    let fileName = try CursorFile.fileName(name)
    let path = directory.path + "/" + fileName
    let file: any StorageFile
    do throws(SystemError) {
      file = try directory.open(fileName, writable: false)
    } catch {
      switch error.errno {
      case Errno.noEntry: return nil
      // A link, or a directory: none of ours, and in the way.
      case Errno.tooManyLinks, Errno.notSupported: return Description(name: name, state: .damaged)
      default: throw .system(error, doing: "opening a cursor", path: path)
      }
    }
    switch try CursorFile.read(file, of: name, path: path) {
    case .never: return Description(name: name, state: .neverWritten)
    case .sound(let slot, _, _):
      return Description(
        name: name, state: .sound, position: Address(rawValue: slot.address),
        ordinal: slot.ordinal)
    case .unsupported: return Description(name: name, state: .unsupported)
    case .damaged: return Description(name: name, state: .damaged)
    }
  }

  /// Forgets a consumer, durably, whatever state its cursor is in. A new one of its name begins
  /// anew. Blocks the thread for a sync.
  ///
  /// - Throws: `locked` while it is held, `noSuchConsumer`, `noSuchTopic`, `notATopic`,
  ///   `invalidOption`, `noSpace`, `syncFailed`, `system`.
  public static func delete(_ name: String, of topic: Topic) throws(QueueError) {
    let storage = try topic.openForReading()
    _ = try TopicIndex.slabs(in: storage)
    let file = try CursorFile.open(name, in: storage, creating: false)
    defer { file.release() }
    try file.remove()
  }

  /// Sets a consumer to a position, durably; also one whose cursor is damaged, or another topic's.
  /// Blocks the thread for the syncs of the cursor and of what lies before the position.
  ///
  /// - Throws: `locked` while it is held, `noSuchConsumer`, `unsupportedFormat` for a newer
  ///   version's; `notARecord` and `beyondLatest` for a position that is none; `noSuchTopic`,
  ///   `notATopic`, `invalidOption`, `noSpace`, `syncFailed`, `system`.
  public static func reset(
    _ name: String, of topic: Topic, to position: Topic.Position
  ) throws(QueueError) {
    try reset(name, of: topic, to: position, environment: .system)
  }

  package static func reset(
    _ name: String, of topic: Topic, to position: Topic.Position, environment: Environment
  ) throws(QueueError) {
    let storage = try topic.openForReading()
    var reading = ConsumerReading(storage, Options())
    try reading.look()
    var named = reading.walker.index.bases.last ?? 0
    var file = try CursorFile.open(name, in: storage, creating: false)
    defer { file.release() }
    try file.load()
    let cursor = try reading.begin(from: position, now: environment.now)
    try reading.work(from: 0, to: cursor.address).run(in: storage, namedThrough: &named)
    try file.set(to: cursor, topicID: reading.topicID)
  }
}
