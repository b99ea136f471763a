// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Adds a handler for the events of this writer, which may use the writer.
  ///
  /// The handler receives every event from now on, until the writer is closed. ``recovery`` has the
  /// report of the opening. For that and everything since, use
  /// ``Options-swift.struct/onEvent`` instead. Several handlers are called in the order in which
  /// they were added.
  ///
  /// ```swift
  /// writer.onEvent { [weak writer] event in
  ///   if case .synced = event { print(writer?.statistics.unsyncedRecords ?? 0) }
  /// }
  /// ```
  ///
  /// The rules are those of ``Options-swift.struct/onEvent``. Threads and tasks may call this.
  ///
  /// - Parameter handler: Called with each event. It should hold the writer weakly, because the
  ///   writer holds the handler until it is closed.
  public func onEvent(_ handler: @escaping @Sendable (Event) -> Void) {
    core.events.queue.add { handler($1) }
  }

  /// An event of a writer, as ``Options-swift.struct/onEvent`` receives it.
  ///
  /// There are no events for single records. ``QueueWriter/statistics`` counts them.
  @nonexhaustive
  public enum Event: Sendable {
    /// The writer is open. The report says what opening found.
    case opened(RecoveryReport)
    /// The writer started a new slab, which begins at this address.
    case rolled(to: Address)
    /// A sync succeeded: everything below the address is on stable storage.
    ///
    /// The duration covers the sync of all slabs that were due. Two kinds of syncs are not
    /// reported:
    ///
    /// - the sync of the closing mark, because ``closed`` reports it
    /// - the sync of a new epoch, which happens once in 2^40 bytes
    case synced(through: Address, took: Duration)
    /// The writer removed the oldest slab to make room.
    ///
    /// `records` is the number of records that the log took in the slab, damaged ones included. It
    /// is nil if the number is not known.
    case dropped(slab: Address, records: UInt64?, bytes: ByteCount)
    /// The operating system refused to watch the topic's directory, for the reason in the error.
    ///
    /// The writer, or its channel, polls for changes four times a second instead. Reported once.
    case polling(QueueError)
    /// The writer has permanently failed.
    ///
    /// It accepts no more records, and records after the last sync may be lost.
    case failed(QueueError)
    /// The writer was closed, and everything is on stable storage.
    ///
    /// The next writer may already have the topic open. A writer that is dropped without `close`
    /// does not report this event.
    case closed
  }
}
