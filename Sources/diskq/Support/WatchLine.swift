// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// A look at a watched topic as one line for a log.
enum WatchLine {
  static func text(_ trend: TopicTrend) -> String {
    let look = trend.look
    var parts = [
      "\(Timestamp.toTheSecond(look.wallTime)) \(look.ending.short(writer: look.writer))",
      "writer \(look.writer.word)",
      look.records.map { Count.text($0, "record") } ?? "? records",
      "next \(look.next)",
      "\(RateText.count(trend.recordRates?.now)) records/s",
      RateText.bytes(trend.byteRates?.now),
      "\(Count.text(UInt64(look.slabs.count), "slab")), \(HumanSize.text(look.bytes))",
      "\(trend.slabsRemoved) removed",
      "\(HumanSize.text(look.room)) left",
    ]
    if let seconds = trend.diskIsFullIn { parts.append("full in \(HumanTime.text(seconds))") }
    for consumer in trend.consumers {
      parts.append(
        "\(consumer.look.name): \(consumer.look.records.map(String.init) ?? "?") left,"
          + " \(RateText.count(consumer.rates?.now)) records/s, caught up \(consumer.outlook.short)"
      )
    }
    return parts.joined(separator: "; ")
  }

  static func object(_ trend: TopicTrend, topic: String) -> JSONValue {
    let look = trend.look
    return .object([
      "time": .text(Timestamp.text(look.wallTime)),
      "topic": .text(topic),
      "state": .text(look.ending.word),
      "writer": look.writer.json,
      "records": .number(look.records),
      "bytes": .number(look.bytes),
      "first": .place(look.first),
      "next": .place(look.next),
      "newest": .text(look.newestStamp.map(Timestamp.text)),
      "newestAge": .decimal(trend.newestAge),
      "slabCount": .number(UInt64(look.slabs.count)),
      "slabsRemoved": .number(trend.slabsRemoved),
      "recordsPerSecond": .decimal(trend.recordRates?.now),
      "recordsPerSecondSmooth": .decimal(trend.recordRates?.smooth),
      "bytesPerSecond": .decimal(trend.byteRates?.now),
      "bytesPerSecondSmooth": .decimal(trend.byteRates?.smooth),
      "diskLeft": .number(look.room),
      "diskFullIn": .decimal(trend.diskIsFullIn),
      "consumers": .array(trend.consumers.map(object)),
    ])
  }

  private static func object(_ consumer: TopicTrend.ConsumerTrend) -> JSONValue {
    .object([
      "name": .text(consumer.look.name),
      "state": .text(consumer.look.state),
      "position": .place(consumer.look.position),
      "ordinal": .place(consumer.look.ordinal),
      "recordsLeft": .number(consumer.look.records),
      "bytesLeft": .number(consumer.look.bytes),
      "holder": consumer.look.holder.json,
      "recordsPerSecond": .decimal(consumer.rates?.now),
      "recordsPerSecondSmooth": .decimal(consumer.rates?.smooth),
      "outlook": .text(consumer.outlook.word),
      "caughtUpIn": .decimal(consumer.outlook.seconds),
    ])
  }
}
