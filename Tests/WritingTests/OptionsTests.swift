// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Options and the values that they consist of")
struct OptionsTests {
  // MARK: Thresholds

  @Test("a threshold takes whole numbers, fractions and durations")
  func fractions() {
    #expect(Threshold.seconds(0.5).time == .milliseconds(500))
    #expect(Threshold.seconds(2).time == .seconds(2))
    #expect(Threshold.seconds(Int64(3)).time == .seconds(3))
    #expect(Threshold.milliseconds(0.25).time == .microseconds(250))
    #expect(Threshold.milliseconds(7).time == .milliseconds(7))
    #expect(Threshold.time(.seconds(9)).time == .seconds(9))
    let several = Threshold(records: 5, bytes: .kilobytes(2), time: .seconds(1))
    #expect(several.records == 5 && several.bytes == .bytes(2_000) && several.time == .seconds(1))
  }

  @Test("a time out of range saturates, and no time is refused, as is less than a microsecond")
  func bounds() {
    #expect(Threshold.seconds(Double.infinity).time == .nanoseconds(Int64.max))
    #expect(Threshold.seconds(UInt64.max).time == .seconds(Int64.max))
    let refused: [Threshold] = [
      .seconds(Double.nan), .seconds(-Double.infinity), .seconds(-1), .seconds(1e-7),
      .milliseconds(0), .records(0), .bytes(.bytes(0)), .time(.zero),
    ]
    for threshold in refused {
      let error = queueError { try QueueWriter.Options(syncEvery: threshold).validate() }
      #expect(error?.code == .invalidOption, "\(threshold)")
      #expect(error?.message.contains("syncEvery") == true)
    }
    #expect(queueError { try QueueWriter.Options(flushEvery: .seconds(1e-6)).validate() } == nil)
  }

  @Test("thresholds and ages are printed in words")
  func words() {
    #expect("\(Threshold.never)" == "never")
    #expect("\(Threshold.records(1))" == "1 record")
    #expect(
      "\(Threshold(records: 1_000, time: .milliseconds(20)))" == "1000 records or 0.02 seconds")
    #expect("\(Threshold.bytes(.kibibytes(64)))" == "64KiB")
    #expect("\(Age.days(7))" == "7 days")
    #expect("\(Age.hours(24))" == "1 day")
    #expect("\(Age.minutes(90))" == "90 minutes")
    #expect("\(Age.seconds(61))" == "61 seconds")
    #expect("\(Age(.milliseconds(1_500)))" == "1.5 seconds")
    #expect("\(Age(.nanoseconds(1)))" == "0.000000001 seconds")
    #expect("\(Age(.zero))" == "0 seconds")
    #expect("\(Age.days(-2))" == "-2 days")
    #expect("\(Age(.seconds(Int64.max) * 2))".hasSuffix("seconds"))
  }

  // MARK: Sizes

  @Test("decimal sizes are powers of 1,000, and saturate")
  func decimals() {
    #expect(ByteCount.kilobytes(1) == .bytes(1_000))
    #expect(ByteCount.megabytes(2) == .bytes(2_000_000))
    #expect(ByteCount.gigabytes(3) == .bytes(3_000_000_000))
    #expect(ByteCount.terabytes(4) == .bytes(4_000_000_000_000))
    #expect(ByteCount.terabytes(.max) == .bytes(.max))
    #expect(ByteCount.kilobytes(.min) == .bytes(.min))
  }

  // MARK: Ages

  @Test("a negative age is refused, and the message names it")
  func negativeAges() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append("one")
    let errors = [
      queueError { _ = try QueueReader(topic: topic, from: .ago(.seconds(-1))) },
      queueError { try Retention(age: .days(-1)).validate() },
      queueError { try QueueWriter.Options(slabAge: .hours(-1)).validate() },
      queueError { try QueueWriter.Options(slabAge: Age(.zero)).validate() },
    ]
    #expect(errors.map { $0?.code } == Array(repeating: .invalidOption, count: 4))
    let messages = errors.map { $0?.message ?? "" }
    #expect(messages[0].hasPrefix("ago is -1 second,"))
    #expect(messages[1].hasPrefix("age is -1 day"))
    #expect(messages[2].hasPrefix("slabAge is -1 hour"))
    #expect(messages[3].hasPrefix("slabAge is 0 seconds"))
    try writer.close()
  }

  // MARK: Permissions

  @Test("permissions have two names, and other bits are refused by name")
  func permissions() {
    #expect(QueueWriter.Options().permissions == .ownerOnly)
    #expect(QueueConsumer.Options().permissions == .ownerOnly)
    #expect(TopicPermissions.ownerOnly == TopicPermissions(directories: 0o700, files: 0o600))
    #expect(TopicPermissions.groupReadable == TopicPermissions(directories: 0o750, files: 0o640))
    let wide = TopicPermissions(directories: 0o1755, files: 0o644)
    let writing = queueError { try QueueWriter.Options(permissions: wide).validate() }
    #expect(writing?.code == .invalidOption)
    #expect(writing?.message.contains("permissions.directories is 01755") == true)
    let consuming = queueError {
      try QueueConsumer.Options(permissions: .init(files: 0o2644)).validate()
    }
    #expect(consuming?.message.contains("permissions.files is 02644") == true)
  }

  // MARK: Memberwise

  @Test("each parameter of the options' initializers sets its property, and the rest keep theirs")
  func memberwise() {
    let writer = QueueWriter.Options(
      slabSize: .mebibytes(1), slabAge: .days(1), maximumPayload: .kilobytes(1),
      bufferSize: .kibibytes(8), flushEvery: .records(2), syncEvery: .records(3),
      maximumBytes: .mebibytes(4), maximumRecords: 5, whenFull: .wait, firstOrdinal: 6,
      permissions: .groupReadable, onEvent: { _ in })
    #expect(writer.slabSize == .mebibytes(1) && writer.slabAge == .days(1))
    #expect(writer.maximumPayload == .bytes(1_000) && writer.bufferSize == .bytes(8_192))
    #expect(writer.flushEvery.records == 2 && writer.syncEvery.records == 3)
    #expect(writer.maximumBytes == .mebibytes(4) && writer.maximumRecords == 5)
    #expect(writer.whenFull == .wait && writer.firstOrdinal == 6)
    #expect(writer.permissions == .groupReadable && writer.onEvent != nil)

    let plain = QueueWriter.Options(whenFull: .dropOldest)
    #expect(plain.slabSize == nil && plain.slabAge == nil && plain.maximumBytes == nil)
    #expect(plain.bufferSize == .mebibytes(2) && plain.flushEvery == .milliseconds(100))
    #expect(plain.maximumPayload == .bytes(Int64(Limits.defaultMaximumPayload)))

    let reader = QueueReader.Options(maximumPayload: .kibibytes(1), bufferSize: .kibibytes(4))
    #expect(reader.maximumPayload == .kibibytes(1) && reader.bufferSize == .kibibytes(4))

    let consumer = QueueConsumer.Options(
      maximumPayload: .kibibytes(1), bufferSize: .kibibytes(4), maximumBatchBytes: .kibibytes(2),
      maximumOutOfOrderRanges: 7, maximumUnacknowledgedRecords: 9, permissions: .groupReadable,
      deadLetters: "letters")
    #expect(consumer.maximumPayload == .kibibytes(1) && consumer.bufferSize == .kibibytes(4))
    #expect(consumer.maximumBatchBytes == .kibibytes(2) && consumer.maximumOutOfOrderRanges == 7)
    #expect(consumer.maximumUnacknowledgedRecords == 9)
    #expect(consumer.permissions == .groupReadable && consumer.deadLetters == "letters")

    let channel = DiskChannel.Options(ensuring: .synced, acknowledgementDelay: .seconds(2))
    #expect(channel.ensuring == .synced && channel.acknowledgementDelay == .seconds(2))
    #expect(channel.writer.maximumBytes == .gibibytes(1) && channel.writer.whenFull == .wait)
    #expect(channel.writer.flushEvery == .never)
    #expect(channel.consumer.maximumBatchBytes == .kibibytes(256))
    let other = DiskChannel.Options(writer: plain, consumer: consumer)
    #expect(other.writer.whenFull == .dropOldest && other.consumer.maximumOutOfOrderRanges == 7)
    #expect(other.ensuring == .flushed)
  }
}
