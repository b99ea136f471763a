// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A consumer of a `Program`, as the model knows it.
final class ProgramConsumer {
  let name: String
  var consumer: QueueConsumer?
  var told = Told()

  /// Where its cursor stood, durably, by what it was told: the newest last. None: it was never made.
  var cursors: [UInt64] = []
  /// Where else it may stand: what moved it there failed, or did not return.
  var unsure: Set<UInt64> = []
  /// An opening did not return: the cursor may have been made, or set back to the end of the log.
  var isOpeningUnsure = false
  /// Bytes of its file in which a bit was flipped, and which were not written over since.
  var flips: Set<Int> = []
  /// A sync failed since its cursor was judged by what the disk holds.
  var mayBeAhead = false

  /// The address that this session began at.
  private(set) var start: UInt64 = 0
  private(set) var delivered: Set<UInt64> = []
  /// The address of the record given last.
  private(set) var last: UInt64?
  /// What the next ordinal would be, by what was given and what was said to be lost.
  private var count: UInt64 = 0
  private var isCountKnown = true
  var batches: [QueueConsumer.Batch] = []
  /// What was acknowledged in this session, durable or not: the next write has it.
  var noted: UInt64 = 0

  init(_ name: String) { self.name = name }

  var file: String { "consumers/\(name).cursor" }

  func begin(_ consumer: QueueConsumer, _ told: Told) {
    self.consumer = consumer
    self.told = told
    start = consumer.position.rawValue
    noted = start
    delivered = []
    last = nil
    count = consumer.ordinal
    isCountKnown = true
  }

  func take(_ record: QueueRecord) {
    takeLosses()
    delivered.insert(record.address.rawValue)
    last = record.address.rawValue
    count += 1
  }

  /// How many records the topic took by what it was given and told; nil: it was told that nobody
  /// knows.
  func counted() -> UInt64? {
    takeLosses()
    return isCountKnown ? count : nil
  }

  private func takeLosses() {
    for loss in told.losses {
      guard let records = loss.records else {
        isCountKnown = false
        continue
      }
      if loss.cause == .discarded { count -= min(count, records) } else { count += records }
    }
    told.forget()
  }

  /// The cursor is durable there, for certain.
  func moved(to address: UInt64) {
    if cursors.last != address { cursors.append(address) }
    unsure = []
    isOpeningUnsure = false
  }

  /// Its process is gone, or it was closed.
  func end() {
    batches = []
    consumer = nil
  }

  /// It was deleted.
  func forget() {
    end()
    (cursors, unsure, isOpeningUnsure, flips) = ([], [], false, [])
  }
}
