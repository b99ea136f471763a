// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// What a topic, its consumers and its disk were like at one moment.
struct TopicLook: Sendable {
  struct Consumer: Sendable {
    var name: String
    /// A word, and what is to be said of it; nothing of a sound one.
    var state = "sound"
    var remark = ""
    var position: Address?
    /// How many records the topic took before its position.
    var ordinal: UInt64?
    /// Records and bytes between its position and the end of the log.
    var records: UInt64?
    var bytes: UInt64?
  }

  /// On a clock that only goes forward.
  var time: Duration
  /// Nanoseconds since 1970, as stamps count.
  var wallTime: UInt64
  var ending: LogEnding
  /// Bases, ascending.
  var slabs: [UInt64]
  /// The size of all files.
  var bytes: UInt64
  var records: UInt64?
  var first: Address?
  var next: Address
  /// How many records the log took before `next`.
  var nextOrdinal: UInt64?
  /// Of the newest mark: nanoseconds since 1970.
  var newestStamp: UInt64?
  var consumers: [Consumer] = []
  /// What may still be written on the disk, in bytes.
  var room: UInt64
}

extension TopicLook {
  /// Looks at a topic. Costs a few reads a slab and consumer, and a walk of about the last slab.
  ///
  /// - Parameter start: when the clock began.
  init(at path: String, since start: ContinuousClock.Instant) throws {
    let info = try TopicInfo(of: Topic(path))
    let consumers = try ConsumerInfo.all(of: Topic(path))
    self.init(
      time: start.duration(to: .now), wallTime: System.nanosecondsSince1970(),
      ending: info.ending, slabs: info.slabs.map(\.file.base.rawValue), bytes: info.bytes,
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
      ordinal: info.consumer.ordinal, records: info.records, bytes: info.bytes)
  }
}
