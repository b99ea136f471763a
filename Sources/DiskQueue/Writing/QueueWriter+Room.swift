// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Appends if there is room below ``Options-swift.struct/maximumBytes``. Returns nil, and appends
  /// nothing, if the topic is at its cap.
  ///
  /// Otherwise it behaves like `append(_:)`. It is for a caller that has work to do before it waits
  /// for room.
  package func appendIfRoom(_ payload: RawSpan) throws(QueueError) -> Address? {
    if let address = try core.appendPlainly(payload) { return Address(rawValue: address) }
    guard case .appended(let appended) = try core.attempt(payload) else { return nil }
    let address = Address(rawValue: appended.address)
    guard core.followUp(appended) else { return address }
    do throws(QueueError) {
      try core.sync()
    } catch {
      throw error.after(1, at: address)
    }
    return address
  }
}

extension QueueWriter.Options.WhenFull {
  /// Which slabs of a topic this policy lets a writer drop. Nil if it drops none.
  func droppable(
    of storage: any TopicStorage, _ front: SlabFront
  ) throws(QueueError) -> Droppable? {
    switch self {
    case .fail, .wait: nil
    case .dropOldest: .all
    case .dropOldestAcknowledged:
      .acknowledged(try ConsumerHolds(of: front, in: storage))
    }
  }
}
