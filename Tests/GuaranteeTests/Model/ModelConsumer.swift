// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A consumer as the model knows it. It has the delivered records, the acknowledged ones, and the
/// bounds between which the durable cursor must be.
final class ModelConsumer {
  let name: String
  var consumer: QueueConsumer?
  var reported = Reported()
  /// Whether the consumer was made. Then it must exist, whatever happens.
  var exists = false

  /// The ordinal at which it began when it was last opened or reset.
  private(set) var start = 0
  /// The end of the records that are acknowledged for certain. The cursor is not below it.
  var floor = 0
  /// The end of the records that may be acknowledged. The cursor is not above it.
  var ceiling = 0
  private(set) var delivered: [QueueRecord] = []
  private var isAcknowledged: [Bool] = []
  /// How many delivered records are acknowledged, up to the first one that is not.
  private var contiguous = 0
  /// The batches that may be acknowledged, and the index in `delivered` at which each begins.
  private(set) var batches: [(batch: QueueConsumer.Batch, start: Int)] = []

  init(_ name: String) { self.name = name }

  /// The position of the cursor once everything is durable.
  var cursor: Int { contiguous == 0 ? start : Int(delivered[contiguous - 1].ordinal) + 1 }

  func begin(at ordinal: Int) {
    start = ordinal
    floor = ordinal
    ceiling = ordinal
    delivered = []
    isAcknowledged = []
    contiguous = 0
    batches = []
  }

  func take(_ batch: QueueConsumer.Batch) {
    batches.append((batch, delivered.count))
    delivered += batch
    isAcknowledged += repeatElement(false, count: batch.count)
  }

  /// Notes records that are about to be acknowledged. Returns whether the cursor will move.
  func acknowledge(_ range: Range<Int>) -> Bool {
    let before = cursor
    for index in range { isAcknowledged[index] = true }
    while contiguous < isAcknowledged.count, isAcknowledged[contiguous] { contiguous += 1 }
    ceiling = max(ceiling, cursor)
    return cursor != before
  }

  /// Ends the consumer, because its process is gone or it was closed. Its batches no longer count.
  func end() {
    batches = []
    consumer = nil
  }
}
