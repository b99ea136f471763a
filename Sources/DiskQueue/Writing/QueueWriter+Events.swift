// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Something that became of a writer, as ``Options-swift.struct/onEvent`` is told of it.
  ///
  /// Nothing is told of single records: ``QueueWriter/statistics`` counts them.
  @nonexhaustive
  public enum Event: Sendable {
    /// It is open; this is what opening found.
    case opened(RecoveryReport)
    /// It left a slab, and goes on in the one with this base.
    case rolled(to: Address)
    /// A sync succeeded: all below this address is on stable storage. It took so long, with all slabs
    /// that were due. Not told are the sync of the mark that closes a topic, as ``closed`` is, and that
    /// of a new epoch, which comes once in 2^40 bytes.
    case synced(through: Address, took: Duration)
    /// It removed the oldest slab for want of room. The records are those that the log took in it,
    /// damaged ones included; nil where nothing tells.
    case dropped(slab: Address, records: UInt64?, bytes: ByteCount)
    /// The system gives no watch for the topic's directory, as the error says. The writer, or its
    /// channel, looks for changes four times a second instead. Reported once.
    case polling(QueueError)
    /// Its end: nothing can be appended any more, and what came behind the last sync may be lost.
    case failed(QueueError)
    /// It was closed, and all is on stable storage; the next writer may have the topic open already. A
    /// writer that is dropped without `close` does not tell.
    case closed
  }
}
