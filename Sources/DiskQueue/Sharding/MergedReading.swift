// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Reads the shards of a topic in turn, one batch each, and every shard in its own order.
///
/// A shard waits in line while there may be something to read in it. If the log is followed, a
/// shard that was read to its end comes back into line when it changes. Otherwise it comes back
/// with the next round.
///
/// One owner, and one call at a time. It blocks on the disk.
final class MergedReading {
  /// The result of one turn of a shard.
  struct Batch: Sendable {
    var shard = 0
    var records: [QueueRecord] = []
    var ending: TurnEnding?
  }

  /// The event after the records. Nil if the turn was over.
  enum TurnEnding: Sendable {
    case loss(Loss, path: String)
    case error(QueueError)
    /// All shards were at their ends.
    case end
  }

  /// A shard, from the time that it was found.
  private final class ShardWalk {
    let topic: Topic
    /// Set while the shard is open.
    var walker: LogWalker?
    /// The walk when the shard was last open. Nil at the start.
    var parked: LogWalker.Parked?
    var isInLine = false
    /// Made before the first look at the shard.
    var watch: (any StorageWatch)?
    var lastTurn: UInt64 = 0

    init(_ topic: Topic) { self.topic = topic }
  }

  private let topic: ShardedTopic
  private let count: Int
  /// The directory, if the shards are in one.
  private let root: (any TopicStorage)?
  private let payloadLimit: UInt32
  private let maximumPayload: ByteCount
  private let bufferSize: Int
  /// How many shards may be open at once.
  private let limit: Int

  /// Nil unless the logs are followed.
  let changes: ShardChanges?
  private var rootWatch: (any StorageWatch)?

  private var walks: [Int: ShardWalk] = [:]
  private var open: Set<Int> = []
  /// The shards in line. Those before `head` had their turn.
  private var line: [Int] = []
  private var head = 0
  /// Whether the existing shards were put in line.
  private var isBegun = false
  private var turns: UInt64 = 0

  /// A turn ends after this many records, or after this many bytes of them.
  static let mostRecords = 64
  static let mostBytes = 64 << 10

  /// Each open shard holds a directory, a slab and a buffer: see `ShardPool`.
  static let ordinaryLimit = 64

  /// A buffer for each open shard: 64 of them take 4 MiB.
  private static let mostBuffer = 64 << 10

  /// Finds the existing shards, and the start in each.
  ///
  /// - Throws: as `ShardedTopic.shardCount`. `invalidOption` for a start that only one shard can
  ///   have.
  init(
    _ topic: ShardedTopic, from start: Topic.Position, options: QueueReader.Options,
    isFollowing: Bool, environment: Environment, limit: Int = MergedReading.ordinaryLimit
  ) throws(QueueError) {
    try options.validate()
    let start = try Self.common(start, now: environment.now)
    let opened = try topic.opened()
    // Anchored, because shards are opened later.
    self.topic = topic.anchored()
    count = opened.count
    root = opened.root
    payloadLimit = UInt32(clamping: options.maximumPayload.bytes)
    maximumPayload = options.maximumPayload
    bufferSize = min(Int(options.bufferSize.bytes), Self.mostBuffer)
    self.limit = limit
    changes = isFollowing ? ShardChanges() : nil
    if isFollowing { try watchRoot() }
    try findShards()
    guard start != .earliest else { return }
    for shard in walks.keys.sorted() {
      guard let walk = walks[shard] else { continue }
      try begin(walk, shard, at: start)
    }
  }

  /// A start that means the same in every shard.
  private static func common(
    _ start: Topic.Position, now: () -> UInt64
  ) throws(QueueError) -> Topic.Position {
    switch start.kind {
    case .earliest, .latest, .time: return start
    case .address(0): return .earliest
    case .ago(let age):
      try age.validate("ago")
      // Once for all shards.
      let now = now()
      return Topic.Position(kind: .time(now - min(now, age.duration.clampedNanoseconds)))
    case .address, .ordinal:
      throw .invalidOption(
        "addresses and ordinals are a shard's own, and shards are read together from the earliest"
          + " or latest record, or from a time: read the shard by itself")
    }
  }

  // MARK: Turns

  /// The next shard's turn. Nil if all shards in line have come to their ends. If the logs are not
  /// followed, a call after that begins a new round.
  func next() -> Batch? {
    do throws(QueueError) {
      try fillLine()
    } catch {
      return Batch(ending: .error(error))
    }
    while let shard = takeFirst() {
      guard let walk = walks[shard] else { continue }
      let batch = turn(of: shard, walk)
      if !batch.records.isEmpty || batch.ending != nil { return batch }
    }
    isBegun = changes != nil
    return nil
  }

  private func turn(of shard: Int, _ walk: ShardWalk) -> Batch {
    turns += 1
    walk.lastTurn = turns
    var batch = Batch(shard: shard)
    var isAtEnd = false
    do throws(QueueError) {
      try open(walk, shard)
      isAtEnd = try walk.walker!.readTurn(&batch, maximumPayload)
    } catch {
      batch.ending = .error(error)
      if error.code == .noSuchTopic {
        forget(shard)
        return batch
      }
    }
    if isAtEnd {
      // If its writer holds records back, handing them over puts the shard in line again.
      walk.watch?.expectChange()
    } else {
      putInLine(shard, walk)
    }
    // Do not keep memory taken for one large record. A shard that is done needs none.
    if isAtEnd && changes == nil || walk.walker?.window.capacity ?? 0 > bufferSize {
      park(shard, walk)
    }
    return batch
  }

  // MARK: The line

  private func takeFirst() -> Int? {
    guard head < line.count else { return nil }
    let shard = line[head]
    head += 1
    walks[shard]?.isInLine = false
    // Free the front for shards that come again, without moving all others each time.
    if head > line.count / 2 {
      line.removeFirst(head)
      head = 0
    }
    return shard
  }

  private func putInLine(_ shard: Int, _ walk: ShardWalk) {
    guard !walk.isInLine else { return }
    walk.isInLine = true
    line.append(shard)
  }

  /// Puts the shards in line in which there may be something to read.
  private func fillLine() throws(QueueError) {
    if let changed = changes?.take(), !changed.isEmpty {
      // First, so that none of them is forgotten if the listing fails.
      for shard in changed.shards.sorted() {
        if let walk = walks[shard] { putInLine(shard, walk) }
      }
      if changed.areMade {
        do throws(QueueError) {
          try findShards()
        } catch {
          changes?.noteMade()
          throw error
        }
      }
    }
    guard !isBegun else { return }
    if changes == nil { try findShards() }
    for shard in walks.keys.sorted() {
      if let walk = walks[shard] { putInLine(shard, walk) }
    }
    isBegun = true
  }

  // MARK: Finding shards

  private func watchRoot() throws(QueueError) {
    guard let changes else { return }
    switch topic.shardStorage {
    case .memory(let shards):
      rootWatch = shards.watch { changes.noteMade() }
    case .files:
      rootWatch = try root.map { root throws(QueueError) in
        try Self.watch(root) { changes.noteMade() }
      }
    }
  }

  private static func watch(
    _ directory: any StorageDirectory, _ onChange: @escaping @Sendable () -> Void
  ) throws(QueueError) -> any StorageWatch {
    do throws(SystemError) {
      return try directory.watch(onChange)
    } catch {
      throw .watchFailed(error, path: directory.path)
    }
  }

  /// Adds the shards that were made since.
  private func findShards() throws(QueueError) {
    let made: [Int]
    switch topic.shardStorage {
    case .memory(let shards): made = shards.made
    case .files:
      made =
        try root.map { root throws(QueueError) in
          try ShardFiles.made(in: root, of: count)
        } ?? []
    }
    for shard in made where walks[shard] == nil {
      let walk = ShardWalk(topic.topic(shard))
      walks[shard] = walk
      if isBegun { putInLine(shard, walk) }
    }
  }

  // MARK: Opening

  private func begin(
    _ walk: ShardWalk, _ shard: Int, at start: Topic.Position
  ) throws(QueueError) {
    try open(walk, shard)
    try walk.walker!.seek(to: start, now: { 0 })
    // The line is long, and only the shards at its front stay open.
    if open.count >= limit { park(shard, walk) }
  }

  /// Opens a shard at the position at which it was parked.
  private func open(_ walk: ShardWalk, _ shard: Int) throws(QueueError) {
    guard walk.walker == nil else { return }
    let storage = try walk.topic.openForReading()
    // Watch before the look, so that every later change is reported.
    if let changes, walk.watch == nil {
      walk.watch = try Self.watch(storage) { changes.note(shard) }
    }
    makeRoom()
    var walker = LogWalker(
      TopicIndex(storage), payloadLimit: payloadLimit, bufferSize: bufferSize)
    if let parked = walk.parked {
      walker.goOn(from: parked)
    } else {
      try walker.seek(to: .earliest, now: { 0 })
    }
    walk.walker = consume walker
    open.insert(shard)
  }

  /// Releases everything that an open shard holds, except its position.
  private func park(_ shard: Int, _ walk: ShardWalk) {
    guard let parked = walk.walker?.parked else { return }
    walk.parked = parked
    walk.walker = nil
    open.remove(shard)
  }

  /// Forgets a shard that was removed. If it is made again, it is another topic, to be read from
  /// its start. It may have been made again before the removal was noticed.
  private func forget(_ shard: Int) {
    walks[shard] = nil
    open.remove(shard)
    changes?.noteMade()
  }

  /// Parks shards until one more may be open. Shards that were read to their ends come first,
  /// starting with the one whose turn was the longest ago. Then comes the shard that has just had
  /// its turn, because its next turn is the farthest away.
  private func makeRoom() {
    while open.count >= limit {
      let known = open.compactMap { shard in walks[shard].map { (shard: shard, walk: $0) } }
      let idle = known.filter { !$0.walk.isInLine }
      let chosen =
        idle.min { $0.walk.lastTurn < $1.walk.lastTurn }
        ?? known.max { $0.walk.lastTurn < $1.walk.lastTurn }
      guard let chosen else { return }
      park(chosen.shard, chosen.walk)
    }
  }

  // MARK: For tests

  var openCount: Int { open.count }
}

extension LogWalker {
  /// Reads one turn of a shard. Returns whether it came to the log's end.
  fileprivate mutating func readTurn(
    _ batch: inout MergedReading.Batch, _ maximumPayload: ByteCount
  ) throws(QueueError) -> Bool {
    var bytes = 0
    while batch.records.count < MergedReading.mostRecords, bytes < MergedReading.mostBytes {
      switch try step() {
      case .record(let address, let ordinal, let payload):
        let record = QueueRecord(
          address: Address(rawValue: address), ordinal: ordinal, payload: window.copy(payload))
        batch.records.append(record)
        bytes += payload.count
      case .tooLarge(let address, let count):
        batch.ending = .error(
          QueueError(
            .payloadTooLarge,
            "a record of \(ByteCount.words(count)) is above this reader's limit of"
              + " \(maximumPayload) and was skipped: raise maximumPayload to read it",
            path: slab?.path, address: address))
        return false
      case .loss(let loss):
        batch.ending = .loss(loss, path: index.path(of: loss))
        return false
      case .end:
        guard !index.isRemoved else { throw .topicRemoved(path: index.storage.path) }
        return true
      }
    }
    return false
  }
}

extension ByteWindow {
  /// A copy of some of the bytes shown.
  fileprivate func copy(_ range: Range<Int>) -> [UInt8] {
    // Safe: reads exactly the span's bytes.
    unsafe bytes(range.count, at: range.lowerBound).withUnsafeBytes { unsafe Array($0) }
  }
}
