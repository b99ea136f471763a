// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A consumer as the model knows it: what it was given, what of it was acknowledged, and between
/// which ordinals its durable cursor must stand.
final class ModelConsumer {
  let name: String
  var consumer: QueueConsumer?
  var told = Told()
  /// Whether it was made, and so must be there whatever happens.
  var exists = false

  /// The ordinal that it began at, when it was opened or reset last.
  private(set) var start = 0
  /// What was acknowledged for certain: the cursor is not below it.
  var floor = 0
  /// What was acknowledged at all: the cursor is not above it.
  var ceiling = 0
  private(set) var delivered: [QueueRecord] = []
  private var isAcknowledged: [Bool] = []
  /// How many of those delivered are acknowledged without one between them that is not.
  private var contiguous = 0
  /// What may be acknowledged, and where it begins in `delivered`.
  private(set) var batches: [(batch: QueueConsumer.Batch, start: Int)] = []

  init(_ name: String) { self.name = name }

  /// Where the cursor is to stand once all is durable.
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

  /// Notes what is about to be acknowledged. Returns whether the cursor is to move by it.
  func acknowledge(_ range: Range<Int>) -> Bool {
    let before = cursor
    for index in range { isAcknowledged[index] = true }
    while contiguous < isAcknowledged.count, isAcknowledged[contiguous] { contiguous += 1 }
    ceiling = max(ceiling, cursor)
    return cursor != before
  }

  /// Its process is gone, or it was closed: nothing that it handed out counts any more.
  func end() {
    batches = []
    consumer = nil
  }
}
