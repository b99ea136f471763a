// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueFoundation
import DiskQueueTestSupport
import Testing

@Suite("A channel of values")
struct ValueChannelTests {
  struct Reading: Codable, Equatable, Sendable {
    var sensor: String
    var celsius: Double
  }

  @Test("values arrive as they were sent")
  func values() async throws {
    let readings = try DiskChannel(topic: .memory()).values(JSONCodec<Reading>())
    let sent = (0..<20).map { Reading(sensor: "sensor \($0)", celsius: Double($0) / 4) }
    for reading in sent { try await readings.send(reading) }
    readings.channel.finish()
    var received: [Reading] = []
    for try await message in readings {
      received.append(try message.value())
      try message.acknowledge()
    }
    #expect(received == sent)
    try await readings.channel.close()
  }

  @Test("a payload that is no value says where it is, and can be put aside")
  func refusedPayload() async throws {
    let dead = Topic.memory()
    var options = DiskChannel.Options()
    options.consumer.deadLetters = dead
    let channel = try DiskChannel(topic: .memory(), options: options)
    let readings = channel.values(JSONCodec<Reading>())
    try await channel.send("no JSON")
    try await readings.send(Reading(sensor: "a", celsius: 1))
    channel.finish()
    var received: [Reading] = []
    for try await message in readings {
      do throws(QueueError) {
        received.append(try message.value())
        try message.acknowledge()
      } catch {
        #expect(error.code == .notCoded)
        #expect(error.address == message.record.address)
        try await message.deadLetter(reason: error.message)
      }
    }
    #expect(received == [Reading(sensor: "a", celsius: 1)])
    #expect(try readAll(dead).records.count == 1)
    try await channel.close()
  }

  @Test("a value that cannot be encoded is not sent")
  func refusedValue() async throws {
    let channel = try DiskChannel(topic: .memory())
    let readings = channel.values(JSONCodec<Reading>())
    let error = await #expect(throws: QueueError.self) {
      // JSON cannot express infinity.
      try await readings.send(Reading(sensor: "a", celsius: .infinity))
    }
    #expect(error?.code == .notCoded)
    #expect(try readAll(channel.topic).records.isEmpty)
    try await channel.close()
  }
}
