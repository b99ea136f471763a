// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Functions that open an object, run the caller's code with it, and close it in any case. The
// synchronous ones are disfavored: an asynchronous caller gets the others, also for a closure that
// awaits nothing.

// MARK: A writer

/// Opens a ``QueueWriter``, runs a closure with it, and closes it.
///
/// ```swift
/// try withQueueWriter(topic: "sensors") { writer in
///   try writer.append("21.5")
/// }
/// ```
///
/// The writer is closed when this returns or throws, and another writer can open the topic. Level
/// reached: ``Durability/synced``, unless this throws an error of closing.
///
/// - Parameters:
///   - topic: The topic to append to. It is created if it does not exist.
///   - options: The options of the writer.
///   - body: Uses the writer. It may close the writer itself.
/// - Returns: The result of `body`.
/// - Throws: The error of opening, as ``QueueWriter/init(topic:options:)``. The error of `body`.
///   If `body` succeeded, the error of closing, as `QueueWriter.close`. Nothing can retry that
///   close: the next writer recovers the topic, and reports the records that remain.
@discardableResult
@_disfavoredOverload
public func withQueueWriter<R>(
  topic: Topic, options: QueueWriter.Options = .init(), _ body: (QueueWriter) throws -> R
) throws -> R {
  let writer = try QueueWriter(topic: topic, options: options)
  return try closing {
    try body(writer)
  } close: { () throws(QueueError) in
    try writer.close()
  } giveUp: {
    writer.core.giveUp()
  }
}

/// Opens a ``QueueWriter``, runs an asynchronous closure with it, and closes it.
///
/// ```swift
/// try await withQueueWriter(topic: "sensors") { writer in
///   try await writer.append("21.5", ensuring: .synced)
/// }
/// ```
///
/// It behaves like the synchronous function. It opens and closes on a thread of its own, and runs
/// `body` in the caller's isolation. If the task is cancelled, the writer is closed all the same.
///
/// - Parameters:
///   - topic: The topic to append to. It is created if it does not exist.
///   - options: The options of the writer.
///   - body: Uses the writer. It may close the writer itself.
/// - Returns: The result of `body`.
/// - Throws: As the synchronous function.
@discardableResult
public nonisolated(nonsending) func withQueueWriter<R>(
  topic: Topic, options: QueueWriter.Options = .init(),
  _ body: nonisolated(nonsending) (QueueWriter) async throws -> R
) async throws -> R {
  let writer = try await opening(topic.description, inMemory: topic.memoryBounds != nil) {
    () throws(QueueError) in try QueueWriter(topic: topic, options: options)
  }
  return try await closing {
    try await body(writer)
  } close: { () async throws(QueueError) in
    try await writer.close()
  } giveUp: {
    writer.core.giveUp()
  }
}

// MARK: A consumer

/// Opens a ``QueueConsumer``, or creates it, runs a closure with it, and closes it.
///
/// The consumer is closed when this returns or throws, and another one can hold the name. All
/// acknowledgements up to the first unacknowledged record are durable then, unless this throws an
/// error of closing. The next holder of the name begins at that record.
///
/// - Parameters:
///   - topic: The topic to consume. It must exist.
///   - name: 1 to 64 of `A-Z a-z 0-9 _ - .`, not beginning with a dot.
///   - start: The position at which a new consumer begins. The earliest record by default.
///   - options: The options of the consumer.
///   - onLoss: Receives every loss, and delivery continues. Without it, the next batch throws each
///     loss once.
///   - body: Uses the consumer. It may close the consumer itself.
/// - Returns: The result of `body`.
/// - Throws: The error of opening, as ``QueueConsumer/init(topic:name:from:options:onLoss:)``. The
///   error of `body`. If `body` succeeded, the error of closing, as `QueueConsumer.close`. Nothing
///   can retry that close: records whose acknowledgement was not written are delivered again.
@discardableResult
@_disfavoredOverload
public func withQueueConsumer<R>(
  topic: Topic, name: String, from start: Topic.Position = .earliest,
  options: QueueConsumer.Options = .init(), onLoss: (@Sendable (Loss) -> Void)? = nil,
  _ body: (QueueConsumer) throws -> R
) throws -> R {
  let consumer = try QueueConsumer(
    topic: topic, name: name, from: start, options: options, onLoss: onLoss)
  return try closing {
    try body(consumer)
  } close: { () throws(QueueError) in
    try consumer.close()
  } giveUp: {
    consumer.core.abandon()
  }
}

/// Opens a ``QueueConsumer``, or creates it, runs an asynchronous closure with it, and closes it.
///
/// ```swift
/// try await withQueueConsumer(topic: "sensors", name: "uploader") { consumer in
///   for try await batch in consumer.batches(upTo: 500) {
///     try await upload(batch)
///     try await batch.acknowledge()
///   }
/// }
/// ```
///
/// It behaves like the synchronous function. It opens and closes on a thread of its own, and runs
/// `body` in the caller's isolation. If the task is cancelled, the consumer is closed all the same.
///
/// - Parameters:
///   - topic: The topic to consume. It must exist.
///   - name: 1 to 64 of `A-Z a-z 0-9 _ - .`, not beginning with a dot.
///   - start: The position at which a new consumer begins. The earliest record by default.
///   - options: The options of the consumer.
///   - onLoss: Receives every loss, and delivery continues. Without it, the next batch throws each
///     loss once.
///   - body: Uses the consumer. It may close the consumer itself.
/// - Returns: The result of `body`.
/// - Throws: As the synchronous function.
@discardableResult
public nonisolated(nonsending) func withQueueConsumer<R>(
  topic: Topic, name: String, from start: Topic.Position = .earliest,
  options: QueueConsumer.Options = .init(), onLoss: (@Sendable (Loss) -> Void)? = nil,
  _ body: nonisolated(nonsending) (QueueConsumer) async throws -> R
) async throws -> R {
  let consumer = try await opening(topic.description, inMemory: topic.memoryBounds != nil) {
    () throws(QueueError) in
    try QueueConsumer(topic: topic, name: name, from: start, options: options, onLoss: onLoss)
  }
  return try await closing {
    try await body(consumer)
  } close: { () async throws(QueueError) in
    try await consumer.close()
  } giveUp: {
    consumer.core.abandon()
  }
}

// MARK: A channel

/// Opens a ``DiskChannel``, runs a closure with it, and closes it.
///
/// ```swift
/// try await withDiskChannel(topic: "work") { channel in
///   try await channel.send("resize 17.jpg")
/// }
/// ```
///
/// It opens and closes on a thread of its own, and runs `body` in the caller's isolation. The
/// channel is closed when this returns or throws, also if the task is cancelled. All messages are
/// durable then, and so are the acknowledgements up to the first unacknowledged message, unless
/// this throws an error of closing.
///
/// - Parameters:
///   - topic: The topic that stores the messages. It is created if it does not exist.
///   - options: The options of the channel.
///   - onLoss: Receives every loss, and receiving continues. Without it, each loss is thrown once
///     to a receiver.
///   - body: Uses the channel. It may close the channel itself.
/// - Returns: The result of `body`.
/// - Throws: The error of opening, as ``DiskChannel/init(topic:options:onLoss:)``. The error of
///   `body`. If `body` succeeded, the error of closing, as ``DiskChannel/close()``. Nothing can
///   retry that close: the next channel recovers the topic.
@discardableResult
public nonisolated(nonsending) func withDiskChannel<R>(
  topic: Topic, options: DiskChannel.Options = .init(),
  onLoss: (@Sendable (Loss) -> Void)? = nil,
  _ body: nonisolated(nonsending) (DiskChannel) async throws -> R
) async throws -> R {
  let channel = try await opening(topic.description, inMemory: topic.memoryBounds != nil) {
    () throws(QueueError) in try DiskChannel(topic: topic, options: options, onLoss: onLoss)
  }
  return try await closing {
    try await body(channel)
  } close: { () async throws(QueueError) in
    try await channel.close()
  } giveUp: {
    channel.core.giveUp()
  }
}

// MARK: A sharded writer

/// Opens a ``ShardedWriter``, runs a closure with it, and closes it.
///
/// The writer and all its shards are closed when this returns or throws. Another writer can open
/// them then. Level reached: ``Durability/synced``, unless this throws an error of closing.
///
/// - Parameters:
///   - topic: The shards to append to. They are created if they do not exist.
///   - options: The options of the writer.
///   - body: Uses the writer. It may close the writer itself.
/// - Returns: The result of `body`.
/// - Throws: The error of opening, as ``ShardedWriter/init(topic:options:)``. The error of `body`.
///   If `body` succeeded, the error of closing, as `ShardedWriter.close`. Nothing can retry that
///   close: the next writer recovers the shards.
@discardableResult
@_disfavoredOverload
public func withShardedWriter<R>(
  topic: ShardedTopic, options: ShardedWriter.Options = .init(),
  _ body: (ShardedWriter) throws -> R
) throws -> R {
  let writer = try ShardedWriter(topic: topic, options: options)
  return try closing {
    try body(writer)
  } close: { () throws(QueueError) in
    try writer.close()
  } giveUp: {
    writer.pool.giveUp()
  }
}

/// Opens a ``ShardedWriter``, runs an asynchronous closure with it, and closes it.
///
/// ```swift
/// try await withShardedWriter(topic: ShardedTopic("orders")) { writer in
///   try await writer.append("3 chairs", key: "customer 17", ensuring: .synced)
/// }
/// ```
///
/// It behaves like the synchronous function. It opens and closes on a thread of its own, and runs
/// `body` in the caller's isolation. If the task is cancelled, the writer is closed all the same.
///
/// - Parameters:
///   - topic: The shards to append to. They are created if they do not exist.
///   - options: The options of the writer.
///   - body: Uses the writer. It may close the writer itself.
/// - Returns: The result of `body`.
/// - Throws: As the synchronous function.
@discardableResult
public nonisolated(nonsending) func withShardedWriter<R>(
  topic: ShardedTopic, options: ShardedWriter.Options = .init(),
  _ body: nonisolated(nonsending) (ShardedWriter) async throws -> R
) async throws -> R {
  let writer = try await opening(topic.description, inMemory: topic.isInMemory) {
    () throws(QueueError) in try ShardedWriter(topic: topic, options: options)
  }
  return try await closing {
    try await body(writer)
  } close: { () async throws(QueueError) in
    try await writer.close()
  } giveUp: {
    writer.pool.giveUp()
  }
}

// MARK: In common

/// Runs `body`, and then closes. The error of `body` counts before that of `close`.
///
/// - Parameter giveUp: releases the locks if closing failed. Closing might be retried, but the
///   caller has no object to retry it with, and the object may live on elsewhere.
private func closing<R>(
  _ body: () throws -> R, close: () throws(QueueError) -> Void, giveUp: () -> Void
) throws -> R {
  let result = Result(catching: body)
  do throws(QueueError) {
    try close()
  } catch {
    giveUp()
    if case .success = result { throw error }
  }
  return try result.get()
}

/// Like the synchronous function.
private nonisolated(nonsending) func closing<R>(
  _ body: nonisolated(nonsending) () async throws -> R,
  close: nonisolated(nonsending) () async throws(QueueError) -> Void, giveUp: () -> Void
) async throws -> R {
  let result: Result<R, any Error>
  do {
    result = .success(try await body())
  } catch {
    result = .failure(error)
  }
  do throws(QueueError) {
    try await close()
  } catch {
    giveUp()
    if case .success = result { throw error }
  }
  return try result.get()
}

/// Opens an object on a thread of its own, because that takes syncs. In memory it needs no thread.
private func opening<Object: Sendable>(
  _ path: String, inMemory: Bool, _ open: @escaping @Sendable () throws(QueueError) -> Object
) async throws(QueueError) -> Object {
  if inMemory { return try open() }
  let thread = BackgroundThread()
  defer { thread.stop() }
  return try await thread.run(path: path, open)
}
