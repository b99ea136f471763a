// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection

/// The state of a topic, its consumers and its disk at one moment.
struct TopicLook: Sendable {
  struct Consumer: Sendable {
    var name: String
    /// The state in a word.
    var state = "sound"
    /// A remark on the state, empty for a sound consumer.
    var remark = ""
    var position: Address?
    /// How many records the topic took before its position.
    var ordinal: UInt64?
    /// Records and bytes between its position and the end of the log.
    var records: UInt64?
    var bytes: UInt64?
    var holder = LockHolder(isAlive: nil)
  }

  /// The time of the look, on a clock that only goes forward.
  var time: Duration
  /// The time of the look in nanoseconds since 1970, like stamps.
  var wallTime: UInt64
  var ending: LogEnding
  var writer = LockHolder(isAlive: nil)
  /// The bases of the slabs, ascending.
  var slabs: [UInt64]
  /// The size of all files.
  var bytes: UInt64
  var records: UInt64?
  var first: Address?
  var next: Address
  /// How many records the log took before `next`.
  var nextOrdinal: UInt64?
  /// The stamp of the newest mark, in nanoseconds since 1970.
  var newestStamp: UInt64?
  var consumers: [Consumer] = []
  /// The free space on the disk, in bytes.
  var room: UInt64
}

extension TopicLook {
  /// Looks at a topic. It costs a few reads for each slab and consumer, and a walk over about the
  /// last slab.
  ///
  /// - Parameter start: the zero of `time`.
  init(at path: String, since start: ContinuousClock.Instant) throws {
    let info = try TopicInfo(of: Topic(path))
    let consumers = try ConsumerInfo.all(of: Topic(path))
    self.init(
      time: start.duration(to: .now), wallTime: System.nanosecondsSince1970(),
      ending: info.ending, writer: info.writer, slabs: info.slabs.map(\.file.base.rawValue),
      bytes: info.bytes,
      records: info.records, first: info.first, next: info.next, nextOrdinal: info.nextOrdinal,
      newestStamp: info.newestStamp, consumers: consumers.map(Consumer.init),
      room: try System.room(in: path))
  }
}

extension TopicLook.Consumer {
  init(_ info: ConsumerInfo) {
    self.init(
      name: info.consumer.name, state: info.consumer.state.word,
      remark: info.consumer.state.remark, position: info.consumer.position,
      ordinal: info.consumer.ordinal, records: info.records, bytes: info.bytes,
      holder: info.holder)
  }
}
