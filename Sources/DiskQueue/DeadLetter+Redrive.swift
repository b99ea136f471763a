// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension DeadLetter {
  /// The name of the consumer of a dead-letter topic that ``redrive(from:to:upTo:onLoss:)`` holds.
  public static let redriveConsumerName = "redrive"

  /// The number of dead letters that are appended and acknowledged together.
  private static let mostAtOnce = 512

  /// Appends the records of dead letters to a topic again, in order.
  ///
  /// Use it after you have repaired the cause, to have the records processed again:
  ///
  /// ```swift
  /// let sensors = try QueueWriter(topic: "sensors")
  /// let count = try await DeadLetter.redrive(from: sensors.topic.deadLetters, to: sensors)
  /// ```
  ///
  /// A dead letter is consumed by the consumer ``redriveConsumerName`` of its topic. So the next
  /// call begins after it, and a cleaner may remove it. It stays readable until then. To redrive it
  /// again, reset this consumer. Dead letters that come during the call are left to the next one.
  ///
  /// Level reached: `synced`, for the records and then for the position of the consumer. Every
  /// record is appended at least once. After a crash, or after an error, up to 512 records may be
  /// appended twice.
  ///
  /// The record in the target is a new one, with a new address. Every consumer of the target
  /// receives it, also those that have already processed the first one. If the target has several
  /// consumers, use a topic of its own as the target.
  ///
  /// - Parameters:
  ///   - deadLetters: The topic of the dead letters, by default of a consumer ``Topic/deadLetters``
  ///     or ``QueueConsumer/deadLetters``.
  ///   - writer: The writer of the target, which can be the topic that the records came from. The
  ///     writer stays open. Its ``QueueWriter/Options-swift.struct/maximumPayload`` must admit the
  ///     largest record.
  ///   - count: The largest number of dead letters to redrive. All by default.
  ///   - onLoss: Receives every loss of dead letters, and redriving continues after it. Without it,
  ///     a loss is thrown as ``QueueError/loss``, and no dead letter after it is redriven. The next
  ///     call then throws it again, until you give a closure.
  /// - Returns: The number of records that were appended. 0 if nothing was put aside yet, so that
  ///   there is no topic of dead letters.
  /// - Throws: One of these codes. ``QueueError/appended`` is the number of records that were
  ///   appended before. After the cause is repaired, call it again to continue.
  ///   - `unsupportedFormat`, with the record's address, if a record is not a dead letter. All
  ///     before it were redriven. To skip it, reset the consumer to the next address.
  ///   - `locked` while another call redrives the same dead letters.
  ///   - `invalidOption` if `deadLetters` is the writer's own topic, or if `count` is below 1.
  ///   - `cancelled` if the task is cancelled.
  ///   - As ``QueueConsumer/init(topic:name:from:options:onLoss:)`` and
  ///     ``QueueConsumer/nextBatch(upTo:lingering:following:)``.
  ///   - The errors of appending and syncing of a ``QueueWriter``.
  /// - Complexity: O(bytes), in memory at most 4 MiB or the largest record. Two syncs for 512
  ///   records.
  @discardableResult
  public static func redrive(
    from deadLetters: Topic, to writer: QueueWriter, upTo count: Int = .max,
    onLoss: (@Sendable (Loss) -> Void)? = nil
  ) async throws(QueueError) -> Int {
    try await redrive(
      from: deadLetters, to: writer, upTo: count, environment: .system, onLoss: onLoss)
  }

  package static func redrive(
    from deadLetters: Topic, to writer: QueueWriter, upTo count: Int, environment: Environment,
    onLoss: (@Sendable (Loss) -> Void)?
  ) async throws(QueueError) -> Int {
    guard count > 0 else {
      throw .invalidOption("the limit is \(count) dead letters, and must be 1 or more")
    }
    guard !deadLetters.isSame(as: writer.topic) else {
      throw .invalidOption(
        "the dead letters would be appended to their own topic: name the topic that they go to")
    }
    let end: Address
    do throws(QueueError) {
      end = try QueueReader(topic: deadLetters, from: .latest).position
    } catch {
      guard error.code == .noSuchTopic else { throw error }
      return 0
    }
    var options = QueueConsumer.Options()
    options.maximumPayload = .bytes(Limits.maximumPayload.upperBound)
    let consumer = try QueueConsumer(
      topic: deadLetters, name: redriveConsumerName, from: .earliest, options: options,
      environment: environment, onLoss: onLoss)
    var redriven = 0
    var failure: QueueError?
    do throws(QueueError) {
      while redriven < count,
        let batch = try await consumer.nextBatch(upTo: min(count - redriven, mostAtOnce))
      {
        let letters = batch.prefix(while: { $0.address < end })
        if !letters.isEmpty { try await redrive(letters, of: deadLetters, to: writer, &redriven) }
        if letters.count < batch.count { break }
      }
    } catch {
      failure = error
    }
    do throws(QueueError) {
      try await consumer.close()
    } catch {
      failure = failure ?? error
    }
    if let failure { throw failure.after(redriven) }
    return redriven
  }

  /// Redrives some dead letters, up to the first record that is none.
  ///
  /// Order:
  /// 1. The records are on stable storage in the target.
  /// 2. The dead letters are acknowledged, durably.
  private static func redrive(
    _ batch: QueueConsumer.Batch, of topic: Topic, to writer: QueueWriter,
    _ redriven: inout Int
  ) async throws(QueueError) {
    var payloads: [[UInt8]] = []
    var failure: QueueError?
    for record in batch {
      do throws(QueueError) {
        payloads.append(try DeadLetter(record.payload).payload)
      } catch {
        failure = QueueError(
          error.code, error.message, path: topic.description,
          address: record.address.rawValue)
        break
      }
    }
    var appended = payloads.count
    do throws(QueueError) {
      try await writer.append(contentsOf: payloads, ensuring: .synced)
    } catch {
      appended = error.appended
      failure = error
    }
    redriven += appended
    do throws(QueueError) {
      // After an error, the records before it are made durable, so that they do not come again.
      if failure != nil, appended > 0 { try await writer.sync() }
      try await batch.prefix(appended).acknowledge()
    } catch {
      failure = failure ?? error
    }
    if let failure { throw failure }
  }
}
