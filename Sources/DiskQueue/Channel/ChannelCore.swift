// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// What hands messages out: the state alone.
struct ChannelState<Batch> {
  /// Read, and not handed out yet.
  private var batch: (batch: Batch, indices: Range<Int>)?
  private var isFetching = false
  private(set) var isFinished = false

  enum Step {
    case message(Batch, index: Int)
    /// The caller reads the next batch, and says `fetched` whatever comes of it.
    case fetch(isLast: Bool)
    /// Another one reads.
    case wait
  }

  mutating func next() -> Step {
    if let (batch, indices) = self.batch, let index = indices.first {
      self.batch = indices.count > 1 ? (batch, indices.dropFirst()) : nil
      return .message(batch, index: index)
    }
    guard !isFetching else { return .wait }
    isFetching = true
    // Asked before the look: what was sent before `finish` is found by it.
    return .fetch(isLast: isFinished)
  }

  mutating func fetched(_ batch: Batch?, _ indices: Range<Int>) {
    isFetching = false
    if let batch, !indices.isEmpty { self.batch = (batch, indices) }
  }

  mutating func finish() { isFinished = true }
}

/// What a `DiskChannel`, its iterators and its messages share.
final class ChannelCore: Sendable {
  let writer: QueueWriter
  private let consumer: QueueConsumer
  private let cleaner: ChannelCleaner
  private let cursorWatch: any StorageWatch
  private let level: Durability
  /// In nanoseconds.
  private let acknowledgementDelay: UInt64

  private let state = Mutex(ChannelState<QueueConsumer.Batch>())
  /// Counts what was sent, and the ends: who found nothing waits for one more.
  private let sent = Progress()
  /// Counts the batches that were read, or tried to be.
  private let fetches = Progress()

  /// So many messages are read at a time at the most.
  private static let batchCount = 512

  /// A message's place.
  struct Delivery: Sendable {
    var batch: QueueConsumer.Batch
    var index: Int
  }

  init(
    topic: Topic, options: DiskChannel.Options, environment: Environment,
    onLoss: (@Sendable (Loss) -> Void)?
  ) throws(QueueError) {
    writer = try QueueWriter(topic: topic, options: options.writer, environment: environment)
    do throws(QueueError) {
      consumer = try QueueConsumer(
        topic: topic, name: DiskChannel.consumerName, from: .earliest, options: options.consumer,
        environment: environment, onLoss: onLoss)
    } catch {
      // The topic was opened for nothing: it is left as clean as it can be.
      do throws(QueueError) { try writer.close() } catch {}
      throw error
    }
    level = options.ensuring
    acknowledgementDelay = options.acknowledgementDelay.clampedNanoseconds
    cleaner = ChannelCleaner(writer.core)
    cursorWatch = try ChannelCore.watchCursors(of: writer.core)
    consumer.core.whenDurable { [cleaner] position throws(QueueError) in
      try cleaner.clean(upTo: position)
    }
    // Another consumer may be the last to acknowledge: whoever waits for room cleans as well, and is
    // woken when a cursor was written.
    writer.core.roomMaker.withLock {
      $0 = { [cleaner, consumer] () throws(QueueError) in
        try consumer.core.levelSlots()
        try cleaner.cleanNow(upTo: consumer.position.rawValue)
      }
    }
  }

  deinit { writer.core.roomMaker.withLock { $0 = nil } }

  private static func watchCursors(
    of writer: WriterCore
  ) throws(QueueError) -> any StorageWatch {
    let path = writer.storage.path + "/" + TopicLayout.consumersName
    let directory: any StorageDirectory
    do throws(SystemError) {
      directory = try writer.storage.consumers(creating: false)
    } catch {
      throw .system(error, doing: "opening the consumers' directory", path: path)
    }
    do throws(SystemError) {
      let watch = try directory.watch { [weak writer] in writer?.wakeRoomSeekers() }
      if let refusal = watch.refusal {
        writer.notePolling(.polling(refusal, path: path))
        writer.events?.tell()
      }
      return watch
    } catch {
      throw .watchFailed(error, path: path)
    }
  }

  // MARK: Sending

  func send(_ payload: RawSpan) async throws(QueueError) {
    guard !state.withLock({ $0.isFinished }) else {
      throw .closed("channel", path: writer.topic.description)
    }
    do throws(QueueError) {
      _ = try await writer.append(payload, ensuring: level)
    } catch {
      // It is in the log, whatever was not waited for.
      if error.appended > 0 { sent.advance() }
      throw error
    }
    sent.advance()
  }

  func finish() {
    state.withLock { $0.finish() }
    sent.advance()
  }

  // MARK: Receiving

  func receive() async throws(QueueError) -> DiskChannel.Message? {
    while true {
      guard !Task.isCancelled else { throw .cancelled() }
      let (fetched, seen) = (fetches.value, sent.value)
      switch state.withLock({ $0.next() }) {
      case .message(let batch, let index):
        return DiskChannel.Message(
          record: batch[index], delivery: Delivery(batch: batch, index: index), core: self)
      case .wait:
        try await fetches.wait(for: fetched + 1)
      case .fetch(let isLast):
        guard try await !fetch() else { continue }
        guard !isLast else { return nil }
        // What was sent since the count was taken is there to be found.
        try await sent.wait(for: seen + 1)
      }
    }
  }

  /// Reads the next batch. False: there is none for now.
  private func fetch() async throws(QueueError) -> Bool {
    var batch: QueueConsumer.Batch?
    defer {
      state.withLock { $0.fetched(batch, batch?.indices ?? 0..<0) }
      fetches.advance()
    }
    batch = try await read()
    if batch == nil {
      // What was sent and is only buffered is to be found as well. Not before: on a full disk, what
      // was flushed is still received.
      try await writer.flush()
      batch = try await read()
    }
    return batch != nil
  }

  private func read() async throws(QueueError) -> QueueConsumer.Batch? {
    do throws(QueueError) {
      return try await consumer.nextBatch(upTo: Self.batchCount, following: false)
    } catch {
      throw endingWriter(error)
    }
  }

  func acknowledge(_ delivery: Delivery) throws(QueueError) {
    do throws(QueueError) {
      try delivery.batch.acknowledgeSoon(only: delivery.index, within: acknowledgementDelay)
    } catch {
      throw endingWriter(error)
    }
  }

  func deadLetterOversized(
    at address: Address, upTo maximumPayload: ByteCount, reason: String
  ) async throws(QueueError) -> Address {
    do throws(QueueError) {
      return try await consumer.deadLetterOversized(
        at: address, upTo: maximumPayload, reason: reason)
    } catch {
      throw endingWriter(error)
    }
  }

  /// The consumer syncs the writer's slabs before its cursor. Where that failed, the writer ends as
  /// well: the system may report it once, and a sync of the writer's would then succeed over data
  /// that is lost, and a mark state that it is durable.
  private func endingWriter(_ error: QueueError) -> QueueError {
    if error.code == .syncFailed {
      writer.core.end(error)
      writer.core.events?.tell()
    }
    return error
  }

  // MARK: For tests

  /// Makes durable what was acknowledged.
  func settle() async throws(QueueError) { try await consumer.settle() }

  /// How many wait for a message.
  var waitingReceivers: Int { sent.waiterCount }

  // MARK: Ending

  /// Order: what was acknowledged, then what was sent; whoever waits finds it closed.
  func close() async throws(QueueError) {
    finish()
    var failure: QueueError?
    do throws(QueueError) {
      try await consumer.close()
    } catch {
      failure = endingWriter(error)
    }
    try await writer.close()
    let closed = QueueError.closed("channel", path: writer.topic.description)
    sent.end(closed)
    fetches.end(closed)
    if let failure { throw failure }
  }
}

/// Removes the slabs that were acknowledged by all consumers of the topic, as soon as the channel's
/// own cursor has passed one.
final class ChannelCleaner: Sendable {
  private let writer: WriterCore
  /// Below it there is nothing to be removed yet.
  private let nextBase = Mutex<UInt64>(0)
  /// Held while slabs are removed; the slabs as they were listed last.
  private let listed = Mutex<SlabFront?>(nil)

  init(_ writer: WriterCore) { self.writer = writer }

  /// - Parameter position: all below it was acknowledged, and is on stable storage.
  /// - Throws: `syncFailed`, which ends the writer as well: the system reports it once.
  func clean(upTo position: UInt64) throws(QueueError) {
    guard position > nextBase.withLock({ $0 }) else { return }
    try cleanNow(upTo: position)
  }

  /// As `clean`, and looks whatever the channel's own cursor was before.
  func cleanNow(upTo position: UInt64) throws(QueueError) {
    do throws(QueueError) {
      let next = try listed.withLock { listed throws(QueueError) in
        try removeAcknowledged(&listed, upTo: position)
      }
      nextBase.withLock { $0 = next ?? position }
    } catch {
      if error.isFinal {
        writer.end(error)
        writer.events?.tell()
      }
      throw error
    }
  }

  /// Returns the base of what is the second slab then, if there is one. One listing serves until it
  /// ends: its last slabs are looked at again.
  private func removeAcknowledged(
    _ listed: inout SlabFront?, upTo position: UInt64
  ) throws(QueueError) -> UInt64? {
    let storage = writer.storage
    let synced = max(position, writer.updateTail { $0.synced })
    var hasRemoved = false
    // Taken out, so that it is changed in place; after an error the next look lists.
    var front = listed.take()
    for _ in 0..<Self.mostListings {
      let isFresh = front.map { $0.slabs.count < 3 || $0.isOutdated } ?? true
      var slabs: SlabFront
      if !isFresh, let listed = front.take() {
        slabs = listed
        try slabs.dropRemoved(from: storage)
      } else {
        slabs = try SlabFront(of: storage)
      }
      let holds = try ConsumerHolds(of: slabs, in: storage)
      var outcome: SlabRemoval.Outcome?
      while slabs.obstacle(synced: synced, holds: holds) == nil {
        outcome = try slabs.removeFirst(of: storage, synced: synced)
        // Where it is gone, another cleaner was faster, and goes no further than it knows of.
        if case .kept = outcome { break }
        hasRemoved = true
      }
      if outcome == .kept(.changed) { continue }
      front = slabs
      if isFresh || slabs.slabs.count >= 3 { break }
    }
    if hasRemoved { try SlabRemoval.syncDirectory(of: storage) }
    listed = front
    return front?.slabs.dropFirst().first?.base
  }

  /// Slabs that change between a listing and a removal, this often, are no cleaner's work.
  private static let mostListings = 100
}
