// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// As `append(_:)`, for who has something to do before it waits for room: nil, and nothing
  /// appended, where there is none below ``Options-swift.struct/maximumBytes``.
  package func appendIfRoom(_ payload: RawSpan) throws(QueueError) -> Address? {
    if let address = try core.appendPlainly(payload) { return Address(rawValue: address) }
    guard case .appended(let appended) = try core.attempt(payload) else { return nil }
    let address = Address(rawValue: appended.address)
    guard core.followUp(appended) else { return address }
    do throws(QueueError) {
      try core.sync()
    } catch {
      throw error.behind(1, at: address)
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
