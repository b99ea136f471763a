// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Operations on a topic's consumers by name, without holding one.

extension QueueConsumer {
  /// A consumer of a topic, as its cursor's file describes it.
  public struct Description: Sendable, Hashable, CustomStringConvertible {
    /// The state of a cursor's file.
    @nonexhaustive
    public enum State: Sendable, Hashable {
      /// The consumer's position is known.
      case sound
      /// The file was created, but its first position was not written.
      ///
      /// The consumer begins anew when it is opened.
      case neverWritten
      /// The consumer's position is not known. Reset the consumer, or delete it.
      ///
      /// If the file is not a regular file, but a link, a directory or a pipe, both fail with
      /// `system`. Remove it by hand. Until then, a cleaner that protects consumers removes
      /// nothing.
      case damaged
      /// A newer version wrote the file.
      case unsupported
    }

    /// The consumer's name.
    public var name: String
    /// The state of the cursor's file.
    public var state: State
    /// The consumer's position: everything below it is acknowledged. nil if it is not known.
    public var position: Address?
    /// The number of records that the topic took before ``position``. nil if it is not known.
    public var ordinal: UInt64?

    /// The name, and the position or the state, on one line.
    public var description: String {
      switch state {
      case .sound:
        let place = [
          ordinal.map { "record \($0)" }, position.map { "address \($0)" },
        ].compactMap(\.self).joined(separator: " at ")
        return "\(name): everything before \(place) is acknowledged"
      case .neverWritten: return "\(name): new, without a position"
      case .damaged: return "\(name): its position is damaged, reset it or delete it"
      case .unsupported: return "\(name): a newer version wrote its position"
      }
    }
  }

  /// Returns a topic's consumers, sorted by name. It needs no lock and no write permission.
  ///
  /// - Throws: `noSuchTopic`, `notATopic` or `system`.
  /// - Complexity: A listing of the topic and of its consumers, and a read for each consumer.
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

  /// Describes one consumer. Returns nil if its file was removed.
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
      // A link or a directory: not a cursor, but it occupies the cursor's name.
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

  /// Deletes a consumer, durably, in any state of its cursor.
  ///
  /// A new consumer of this name begins anew. Blocks the thread for a sync.
  ///
  /// - Throws: `locked` while the consumer is held. `noSuchConsumer`, `noSuchTopic`, `notATopic`,
  ///   `invalidOption`, `noSpace`, `syncFailed` or `system`.
  public static func delete(_ name: String, of topic: Topic) throws(QueueError) {
    let storage = try topic.openForReading()
    _ = try TopicIndex.slabs(in: storage)
    let file = try CursorFile.open(name, in: storage, creating: false)
    defer { file.release() }
    try file.remove()
  }

  /// Moves a consumer to a position, durably. The cursor may be damaged, or another topic's.
  ///
  /// Blocks the thread for the syncs of the cursor and of the slabs before the position.
  ///
  /// - Throws: One of these codes:
  ///   - `locked` while the consumer is held.
  ///   - `unsupportedFormat` if the cursor is a newer version's.
  ///   - `notARecord` or `beyondLatest` if the position is not valid.
  ///   - `noSuchConsumer`, `noSuchTopic`, `notATopic`, `invalidOption`, `noSpace`, `syncFailed` or
  ///     `system`.
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
