// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The state of a channel's receiving side, without locks or waiting. It hands out one message at a
/// time.
struct ChannelState<Batch> {
  /// The batch that was read last, and the indices of its messages that were not handed out yet.
  private var batch: (batch: Batch, indices: Range<Int>)?
  private var isFetching = false
  private(set) var isFinished = false

  enum NextAction {
    case message(Batch, index: Int)
    /// The caller must read the next batch, and then call `fetched` whether it succeeded or not.
    case fetch(isLast: Bool)
    /// Another caller is reading.
    case wait
  }

  mutating func next() -> NextAction {
    if let (batch, indices) = self.batch, let index = indices.first {
      self.batch = indices.count > 1 ? (batch, indices.dropFirst()) : nil
      return .message(batch, index: index)
    }
    guard !isFetching else { return .wait }
    isFetching = true
    // `isFinished` is read before the log is. So the read finds all messages sent before `finish`.
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
  private let acknowledgementDelay: Duration

  private let state = Mutex(ChannelState<QueueConsumer.Batch>())
  /// Counts sent messages, and calls of `finish`. A receiver that found no message waits for the
  /// next count.
  private let sent = Progress()
  /// Counts the attempts to read a batch, failed ones as well.
  private let fetches = Progress()

  /// At most this many messages are read at a time.
  private static let batchCount = 512

  /// So much must be acknowledged before room comes back.
  private static let largestAutomaticSlab = ByteCount.mebibytes(16)

  /// Which message of which batch it is.
  struct MessageInBatch: Sendable {
    var batch: QueueConsumer.Batch
    var index: Int
  }

  init(
    topic: Topic, options: DiskChannel.Options, environment: Environment,
    onLoss: (@Sendable (Loss) -> Void)?
  ) throws(QueueError) {
    var writerOptions = options.writer
    writerOptions.slabSize =
      options.writer.slabSize
      ?? Limits.automaticSlabSize(
        cap: options.writer.maximumBytes, largest: Self.largestAutomaticSlab)
    writer = try QueueWriter(topic: topic, options: writerOptions, environment: environment)
    do throws(QueueError) {
      consumer = try QueueConsumer(
        topic: topic, name: DiskChannel.consumerName, from: .earliest, options: options.consumer,
        environment: environment, onLoss: onLoss)
    } catch {
      // The writer was opened for nothing. Close it, so that the topic is left clean if possible.
      do throws(QueueError) { try writer.close() } catch {}
      throw error
    }
    level = options.ensuring
    acknowledgementDelay = options.acknowledgementDelay
    cleaner = ChannelCleaner(writer.core)
    cursorWatch = try ChannelCore.watchCursors(of: writer.core)
    consumer.core.whenDurable { [cleaner] position throws(QueueError) in
      try cleaner.clean(upTo: position)
    }
    // Another consumer may be the last to acknowledge. So an append that waits for room cleans as
    // well, and each cursor that is written wakes it.
    writer.core.roomMaker.withLock {
      $0 = { [cleaner, consumer] () throws(QueueError) in
        try consumer.core.levelSlots()
        try cleaner.cleanNow(upTo: consumer.position.rawValue)
      }
    }
  }

  deinit { writer.core.roomMaker.withLock { $0 = nil } }

  /// The error that ended the writer or the consumer.
  var failure: QueueError? { writer.failure ?? consumer.failure }

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
      let watch = try directory.watch { [weak writer] in writer?.wakeWaitersForRoom() }
      if let refusal = watch.refusal {
        writer.notePolling(.polling(refusal, path: path))
        writer.events.deliver()
      }
      return watch
    } catch {
      throw .watchFailed(error, path: path)
    }
  }

  // MARK: Sending

  /// Sends a message as far as that is possible without suspending the task.
  func beginSending(_ payload: RawSpan) throws(QueueError) -> QueueWriter.BegunAppend {
    guard !state.withLock({ $0.isFinished }) else {
      throw .closed("channel", path: writer.topic.description)
    }
    return try writer.beginAppending(payload)
  }

  /// Waits for room if the message has to, and for its level.
  func finish(_ begun: QueueWriter.BegunAppend) async throws(QueueError) {
    do throws(QueueError) {
      _ = try await writer.finish(begun, ensuring: level)
    } catch {
      // The record is in the log, even if it did not reach its durability level.
      guard error.appended > 0 else { throw channelError(error) }
      sent.advance()
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
          record: batch[index], delivery: MessageInBatch(batch: batch, index: index), core: self)
      case .wait:
        try await fetches.wait(for: fetched + 1)
      case .fetch(let isLast):
        guard try await !fetch() else { continue }
        guard !isLast else { return nil }
        // `seen` was taken before the read. If a message was sent since, this returns at once.
        try await sent.wait(for: seen + 1)
      }
    }
  }

  /// Reads the next batch. Returns false if there is none for now.
  private func fetch() async throws(QueueError) -> Bool {
    var batch: QueueConsumer.Batch?
    defer {
      state.withLock { $0.fetched(batch, batch?.indices ?? 0..<0) }
      fetches.advance()
    }
    batch = try await read()
    if batch == nil {
      // Flush to find messages that are only buffered as well. Do not flush before the first read:
      // on a full disk the flush fails, but flushed messages are still received.
      do throws(QueueError) {
        try await writer.flush()
      } catch {
        throw channelError(error)
      }
      batch = try await read()
    }
    return batch != nil
  }

  private func read() async throws(QueueError) -> QueueConsumer.Batch? {
    do throws(QueueError) {
      return try await consumer.nextBatch(upTo: Self.batchCount)
    } catch {
      throw channelError(error)
    }
  }

  func acknowledge(_ delivery: MessageInBatch) throws(QueueError) {
    do throws(QueueError) {
      try delivery.batch.acknowledge(
        only: delivery.index..<delivery.index + 1, within: acknowledgementDelay)
    } catch {
      throw channelError(error)
    }
  }

  func settle() async throws(QueueError) {
    do throws(QueueError) {
      try await consumer.settle()
    } catch {
      throw channelError(error)
    }
  }

  func deadLetter(
    _ delivery: MessageInBatch, reason: String
  ) async throws(QueueError) -> Address {
    do throws(QueueError) {
      return try await delivery.batch.deadLetter(delivery.index, reason: reason)
    } catch {
      throw channelError(error)
    }
  }

  func deadLetterOversized(
    at address: Address, upTo maximumPayload: ByteCount, reason: String
  ) async throws(QueueError) -> Address {
    do throws(QueueError) {
      return try await consumer.deadLetterOversized(
        at: address, upTo: maximumPayload, reason: reason)
    } catch {
      throw channelError(error)
    }
  }

  /// The error that the channel reports for an error of its consumer or its writer. A closed
  /// consumer or writer is a closed channel.
  ///
  /// Ends the writer as well if the consumer failed to sync. The consumer syncs the writer's slabs
  /// before its cursor. The system may report a failed sync only once. A later sync by the writer
  /// would then succeed although data is lost, and a mark would state that this data is durable.
  private func channelError(_ error: QueueError) -> QueueError {
    switch error.code {
    case .syncFailed:
      writer.core.end(error)
      writer.core.events.deliver()
      return error
    case .closed:
      return .closed("channel", path: writer.topic.description)
    default:
      return error
    }
  }

  // MARK: For tests

  /// How many receivers wait for a message.
  var waitingReceivers: Int { sent.waiterCount }

  // MARK: Ending

  /// Order: close the consumer, which makes the acknowledgements durable. Then close the writer,
  /// which makes the sent messages durable. Then every waiting receiver gets `closed`.
  func close() async throws(QueueError) {
    finish()
    var failure: QueueError?
    do throws(QueueError) {
      try await consumer.close()
    } catch {
      failure = channelError(error)
    }
    try await writer.close()
    endWaiting()
    if let failure { throw failure }
  }

  /// Releases the topic after `close` failed and will not be retried, though the channel may live
  /// on.
  func giveUp() {
    consumer.core.abandon()
    writer.core.giveUp()
    endWaiting()
  }

  private func endWaiting() {
    let closed = QueueError.closed("channel", path: writer.topic.description)
    sent.end(closed)
    fetches.end(closed)
  }
}

/// Removes the slabs that all consumers of the topic have acknowledged. It looks for them as soon
/// as the channel's own cursor has passed a slab.
final class ChannelCleaner: Sendable {
  private let writer: WriterCore
  /// While the channel's cursor is at or below this address, there is nothing to remove.
  private let nextBase = Mutex<UInt64>(0)
  /// The slabs as they were listed last. The lock is held while slabs are removed.
  private let listed = Mutex<SlabFront?>(nil)

  init(_ writer: WriterCore) { self.writer = writer }

  /// - Parameter position: every record below it is acknowledged, and is on stable storage.
  /// - Throws: `syncFailed`, which ends the writer as well, because the system reports it only
  ///   once.
  func clean(upTo position: UInt64) throws(QueueError) {
    guard position > nextBase.withLock({ $0 }) else { return }
    try cleanNow(upTo: position)
  }

  /// Like `clean`, but looks even if the channel's own cursor has not passed a slab.
  func cleanNow(upTo position: UInt64) throws(QueueError) {
    do throws(QueueError) {
      let next = try listed.withLock { listed throws(QueueError) in
        try removeAcknowledged(&listed, upTo: position)
      }
      nextBase.withLock { $0 = next ?? position }
    } catch {
      if error.isFinal {
        writer.end(error)
        writer.events.deliver()
      }
      throw error
    }
  }

  /// Returns the base of the slab that is the second one afterwards, if there is one. A listing
  /// serves until it ends: when fewer than three of its slabs are left, the topic is listed again.
  private func removeAcknowledged(
    _ listed: inout SlabFront?, upTo position: UInt64
  ) throws(QueueError) -> UInt64? {
    let storage = writer.storage
    let synced = max(position, writer.updateTail { $0.synced })
    var hasRemoved = false
    // Taken out of `listed`, so that it is changed in place. After an error, the next call lists.
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
        // If the slab is already gone, another cleaner was faster. That cleaner removes no more
        // than it knows may go, so this one goes on.
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

  /// If slabs change this often between a listing and a removal, the cause is not a cleaner.
  private static let mostListings = 100
}
