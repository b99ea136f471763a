// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// The address at which to stop reading, if only the records before a position are wanted.
  ///
  /// For a time, it is the address of the first mark or header that states this time or a later
  /// one, or else the end of the log. So no record before the time is left out, and some after it
  /// may be included.
  ///
  /// - Throws: As a reader that starts there.
  /// - Complexity: As of a reader that starts there. For a time, also a walk to the next mark.
  package func end(before position: Position) throws(QueueError) -> Address {
    let now = Environment.system.now()
    var walker = LogWalker(
      TopicIndex(try openForReading()), payloadLimit: 0, bufferSize: 1 << 18)
    try walker.seek(to: position, now: { now })
    let time: UInt64
    switch position.kind {
    case .time(let given): time = given
    case .ago(let age): time = now - min(age.duration.clampedNanoseconds, now)
    case .earliest, .latest, .address, .ordinal: return Address(rawValue: walker.position)
    }
    while true {
      // A step passes marks on its way to a record.
      switch try walker.step() {
      case .record(let address, _, _), .tooLarge(let address, _):
        if walker.highestStamp >= time { return Address(rawValue: address) }
      case .loss: continue
      case .end: return Address(rawValue: walker.position)
      }
    }
  }
}
