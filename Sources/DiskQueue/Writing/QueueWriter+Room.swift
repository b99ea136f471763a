// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Appends if there is room below ``Options-swift.struct/maximumBytes``. Returns nil, and appends
  /// nothing, if the topic is at its cap.
  ///
  /// Otherwise it behaves like `append(_:)`. It is for a caller that has work to do before it waits
  /// for room.
  package func appendIfRoom(_ payload: RawSpan) throws(QueueError) -> AppendResult? {
    if let result = try core.appendPlainly(payload) { return result }
    guard case .appended(let appended) = try core.attempt(payload) else { return nil }
    guard core.followUp(appended) else { return appended.result }
    do throws(QueueError) {
      try core.sync()
    } catch {
      throw error.after(1, at: appended.result.address)
    }
    return appended.result
  }
}

extension QueueWriter.Options.WhenFull {
  /// Which slabs of a topic this policy lets a writer drop. Nil if it drops none.
  func droppable(
    of storage: any TopicStorage, _ front: SlabFront
  ) throws(QueueError) -> Droppable? {
    switch self {
    case .automatic, .fail, .wait: nil
    case .dropOldest: .all
    case .dropOldestAcknowledged:
      .acknowledged(try ConsumerHolds(of: front, in: storage))
    }
  }
}
