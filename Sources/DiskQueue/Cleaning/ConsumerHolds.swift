// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The address from which protected consumers hold a topic's slabs.
struct ConsumerHolds: Sendable, Equatable {
  /// The hold of one consumer.
  struct Hold: Sendable, Equatable {
    var consumer: String
    /// Everything at and after this address stays. 0 holds everything.
    var address: UInt64
    var cause: HoldCause

    /// At the same address, a hold for any cause other than a position counts as lower: it holds
    /// whatever is there.
    func isLower(than other: Hold) -> Bool {
      address != other.address
        ? address < other.address : cause != .position && other.cause == .position
    }
  }

  /// Why a consumer holds slabs.
  enum HoldCause: Sendable, Equatable {
    /// It has acknowledged everything before its position.
    case position
    /// It has not acknowledged anything yet.
    case neverWritten
    /// Its position cannot be read.
    case damaged
    /// A newer version wrote its cursor.
    case unsupported(version: UInt16)
    /// Its cursor belongs to another topic.
    case otherTopic
  }

  /// How many protected consumers there are.
  private(set) var consumers = 0
  /// The hold that holds most. Nil if nothing is held.
  var lowest: Hold?

  /// The hold that reaches below an address. Nil if there is none.
  func hold(below address: UInt64) -> Hold? { lowest.flatMap { $0.address < address ? $0 : nil } }

  /// Protects no consumer.
  init() {}

  /// Reads the cursors of the protected consumers.
  ///
  /// A cursor holds everything from the lower of its two slots on, because a crash may fall back to
  /// that slot. A cursor with a single slot is synced before it is believed: nothing else proves
  /// that it will exist after a power cut. A cursor holds everything if it was never written, is
  /// damaged, was written by a newer version, or belongs to another topic. Files that are not named
  /// as cursors are ignored.
  ///
  /// - Parameters:
  ///   - topicID: the topic's id. Nil if it has none.
  ///   - beginsWithVersion1: whether a cursor without an id is accepted. It was written before a
  ///     writer of version 2 gave the topic an id.
  /// - Throws: `invalidOption` if a consumer that is to be protected does not exist. `syncFailed`
  ///   if a cursor could not be synced. `system` if a cursor cannot be read: its hold is unknown,
  ///   so nothing may be removed.
  init(
    of storage: any TopicStorage, protecting protected: Retention.Consumers, topicID: UInt64?,
    beginsWithVersion1: Bool
  ) throws(QueueError) {
    if case .ignored = protected { return }
    let directory = try ConsumerHolds.directory(of: storage)
    var names: [String] = []
    if let directory { names = try ConsumerHolds.consumers(in: directory) }
    if case .only(let wanted) = protected,
      let missing = wanted.subtracting(names).min()
    {
      throw QueueError(
        .invalidOption,
        "there is no consumer named \"\(missing)\" to protect: check the name, or leave it out",
        path: storage.path)
    }
    guard let directory else { return }
    for name in names where protected.protects(name) {
      guard let content = try ConsumerHolds.read(name, in: directory) else { continue }
      consumers += 1
      let hold = ConsumerHolds.hold(name, content) { stated in
        stated == topicID || stated == 0 && beginsWithVersion1
      }
      if lowest.map({ hold.isLower(than: $0) }) ?? true { lowest = hold }
    }
  }

  private static func hold(
    _ name: String, _ content: CursorSlots.Content, isOfTopic: (UInt64) -> Bool
  ) -> Hold {
    switch content {
    case .never: Hold(consumer: name, address: 0, cause: .neverWritten)
    case .damaged: Hold(consumer: name, address: 0, cause: .damaged)
    case .unsupported(let version):
      Hold(consumer: name, address: 0, cause: .unsupported(version: version))
    case .sound(let slot, let lowest, _):
      isOfTopic(slot.topicID)
        ? Hold(consumer: name, address: lowest, cause: .position)
        : Hold(consumer: name, address: 0, cause: .otherTopic)
    }
  }

  /// The directory of the consumers. Nil if there is none.
  private static func directory(
    of storage: any TopicStorage
  ) throws(QueueError) -> (any StorageDirectory)? {
    do throws(SystemError) {
      return try storage.consumers(creating: false)
    } catch {
      guard error.errno != Errno.noEntry else { return nil }
      throw .system(
        error, doing: "opening the consumers' directory",
        path: storage.path + "/" + TopicLayout.consumersName)
    }
  }

  /// The names of all consumers, sorted.
  private static func consumers(
    in directory: any StorageDirectory
  ) throws(QueueError) -> [String] {
    var names: [String] = []
    do throws(SystemError) {
      try directory.forEachName { if let name = CursorName.parse($0) { names.append(name) } }
    } catch {
      throw .system(error, doing: "listing the consumers", path: directory.path)
    }
    return names.sorted()
  }

  /// A consumer that acknowledges while its cursor is read soon writes both slots. If the cursor
  /// has changed this many times, it is not one.
  private static let mostAttempts = 1000

  /// The content of a cursor. Nil if the cursor is gone.
  private static func read(
    _ name: String, in directory: any StorageDirectory
  ) throws(QueueError) -> CursorSlots.Content? {
    let path = directory.path + "/" + CursorName.string(name)
    let file: any StorageFile
    do throws(SystemError) {
      file = try directory.open(CursorName.string(name), writable: false)
    } catch {
      if error.errno == Errno.noEntry { return nil }
      throw .system(error, doing: "opening a consumer's position", path: path)
    }
    var content = try CursorFile.read(file, of: name, path: path)
    for _ in 0..<mostAttempts {
      guard case .sound(_, _, count: 1) = content else { return content }
      do throws(SystemError) {
        // As its holder does: nothing in it is synced before its name is.
        try directory.syncDirectory()
        try file.sync()
      } catch {
        throw QueueError(
          .syncFailed,
          "stable storage refused a consumer's position (\(error.call):"
            + " \(Syscalls.describe(error.errno))), so nothing was removed: check the disk",
          path: path, errno: error.errno)
      }
      let synced = content
      content = try CursorFile.read(file, of: name, path: path)
      if content == synced { return content }
    }
    return .damaged
  }
}
