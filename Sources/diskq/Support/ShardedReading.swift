// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Prints the records of all shards, a few of each shard in turn.
struct ShardedReading: Sendable {
  let topic: ShardedTopic
  let start: Topic.Position
  let follows: Bool
  let limit: UInt64
  let format: RecordFormat
  let escapesLines: Bool
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool
  /// Whether to go on after a loss.
  let skipsDamage: Bool
  let options: QueueReader.Options

  /// Prints up to the end or the limit. Returns whether records were lost.
  ///
  /// - Parameter caught: the signals, if they are caught already.
  func run(until caught: StopSignals?) throws -> Bool {
    // Order: before any thread is started.
    let stop = try caught ?? StopSignals.caught(orClosedOutput: true)
    let losses = Losses(of: topic.description)
    do {
      try runTask(cancelledBy: stop) { try await print(losses) }
    } catch let error as QueueError where error.code == .cancelled {
      // A stop is the end of --follow, and of output without a reader.
      guard follows || stop.cause == .closedOutput else { throw stop.interruption }
    }
    return !losses.isEmpty
  }

  private func print(_ losses: Losses) async throws {
    var output = Output(placesAreText: jsonStrings, escapesLines: escapesLines)
    let records = try topic.records(from: start, following: follows, options: options)
    var iterator = records.makeAsyncIterator()
    var left = limit
    while left > 0, output.isOpen {
      do throws(QueueError) {
        guard let found = try await iterator.next() else { break }
        output.put(found, as: format)
        left -= 1
        // The next call may wait.
        if follows { output.drain() }
      } catch {
        if let loss = error.loss {
          losses.report(loss, in: error.path)
          if skipsDamage { continue }
          break
        }
        guard error.code != .payloadTooLarge else {
          losses.tellPassed(error)
          continue
        }
        // Print the records before the error.
        try output.finish()
        throw error
      }
    }
    try output.finish()
  }
}
