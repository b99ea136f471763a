// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A consumer of a `Program`, as the model knows it.
final class ProgramConsumer {
  let name: String
  var consumer: QueueConsumer?
  var reported = Reported()

  /// The durable positions of its cursor, as calls reported them, newest last. Empty if it was
  /// never made.
  var cursors: [UInt64] = []
  /// Other positions that the cursor may have: the call that moved it there failed, or did not
  /// return.
  var unsure: Set<UInt64> = []
  /// Whether an opening failed or did not return. The cursor may have been made, or set back to the
  /// end of the log.
  var isOpeningUnsure = false
  /// Bytes of its file in which a bit was flipped, and which were not overwritten since.
  var flips: Set<Int> = []
  /// Whether a sync failed since the consumer last judged its cursor by the disk's content.
  var mayBeAhead = false

  /// The address at which this session began.
  private(set) var start: UInt64 = 0
  private(set) var delivered: Set<UInt64> = []
  /// The address of the last record that it got.
  private(set) var last: UInt64?
  /// The next ordinal, as the delivered records and the reported losses give it.
  private var count: UInt64 = 0
  private var isCountKnown = true
  var batches: [QueueConsumer.Batch] = []
  /// The end of the records acknowledged in this session, durable or not. The next write stores it.
  var noted: UInt64 = 0

  init(_ name: String) { self.name = name }

  var file: String { "consumers/\(name).cursor" }

  func begin(_ consumer: QueueConsumer, _ reported: Reported) {
    self.consumer = consumer
    self.reported = reported
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

  /// How many records the topic took, as the delivered records and the reported losses give it. Nil
  /// if a loss had no count.
  func counted() -> UInt64? {
    takeLosses()
    return isCountKnown ? count : nil
  }

  private func takeLosses() {
    for loss in reported.losses {
      guard let records = loss.records else {
        isCountKnown = false
        continue
      }
      if loss.cause == .discarded { count -= min(count, records) } else { count += records }
    }
    reported.forget()
  }

  /// Notes that the cursor is durable at an address, for certain.
  func moved(to address: UInt64) {
    if cursors.last != address { cursors.append(address) }
    unsure = []
    isOpeningUnsure = false
  }

  /// Ends the consumer, because its process is gone or it was closed.
  func end() {
    batches = []
    consumer = nil
  }

  /// Notes that the consumer was deleted.
  func forget() {
    end()
    (cursors, unsure, isOpeningUnsure, flips) = ([], [], false, [])
  }
}
