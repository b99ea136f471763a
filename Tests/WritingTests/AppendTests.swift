// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("An append")
struct AppendTests {
  /// A type of a program that lends its bytes.
  struct Reading: PayloadBytes {
    var line: String

    func withPayloadBytes<R>(
      _ body: (RawSpan) throws(QueueError) -> R
    ) throws(QueueError) -> R {
      try line.withPayloadBytes(body)
    }
  }

  private static let text = "21.5 °C, measured at noon"
  private static let bytes = Array(text.utf8)

  @Test("takes every kind of bytes, and a text as its UTF-8")
  func kinds() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let (text, bytes) = (Self.text, Self.bytes)
    let longer = "x" + text
    try writer.append(text)
    try writer.append("21.5 °C, measured at noon")
    try writer.append("\(21.5) °C, measured at noon")
    try writer.append("21.5 °C, measured at noon" as StaticString)
    try writer.append(longer.dropFirst())
    try writer.append(text.utf8)
    try writer.append(longer.dropFirst().utf8)
    try writer.append(bytes)
    try writer.append(bytes[...])
    try writer.append(ContiguousArray(bytes))
    try writer.append(bytes.span)
    try writer.append(bytes.span.bytes)
    try writer.append(Data(bytes))
    try writer.append((Data([7]) + bytes).dropFirst())
    try writer.append(bytes.lazy.map { $0 })
    try writer.append(AnyCollection(bytes))
    try writer.append(Reading(line: text))
    try writer.close()
    let read = try readAll(topic)
    #expect(read.texts == [String](repeating: text, count: 17))
  }

  @Test("takes every kind of bytes while it waits for a level, too")
  func awaitedKinds() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let (text, bytes) = (Self.text, Self.bytes)
    try await writer.append(text, ensuring: .buffered)
    try await writer.append("21.5 °C, measured at noon", ensuring: .flushed)
    try await writer.append(("x" + text).dropFirst(), ensuring: .synced)
    try await writer.append(bytes, ensuring: .synced)
    try await writer.append(bytes[...], ensuring: .synced)
    try await writer.append(bytes.span, ensuring: .synced)
    try await writer.append(bytes.span.bytes, ensuring: .synced)
    try await writer.append(Data(bytes), ensuring: .synced)
    try await writer.append(AnyCollection(bytes), ensuring: .synced)
    try await writer.append(Reading(line: text), ensuring: .synced)
    try await writer.close()
    #expect(try readAll(topic).texts == [String](repeating: text, count: 10))
  }

  @Test("takes literals, no bytes, and a static text of one character")
  func literals() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append([])
    try writer.append("")
    try writer.append([1, 2, 3])
    try writer.append("a" as StaticString)
    try writer.append("é" as StaticString)
    try writer.append("" as StaticString)
    try writer.close()
    let expected: [[UInt8]] = [[], [], [1, 2, 3], [97], [0xC3, 0xA9], []]
    #expect(try readAll(topic).records.map(\.payload) == expected)
  }

  @Test("of a batch takes texts, arrays, Data, other collections, and types of the program")
  func batchKinds() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append(contentsOf: ["one", "two"])
    try writer.append(contentsOf: [[1], [2, 3]])
    try writer.append(contentsOf: [Data([4]), Data([5, 6])])
    try writer.append(contentsOf: "a b".split(separator: " "))
    try writer.append(contentsOf: [AnyCollection([7 as UInt8])])
    try writer.append(contentsOf: [Reading(line: "own")])
    try await writer.append(contentsOf: ["three", "four"], ensuring: .synced)
    try await writer.append(contentsOf: [[8], [9, 10]], ensuring: .synced)
    try await writer.append(contentsOf: [Data([11])], ensuring: .flushed)
    try await writer.append(contentsOf: [Reading(line: "also")], ensuring: .buffered)
    try await writer.close()
    let expected: [[UInt8]] =
      [Array("one".utf8), Array("two".utf8), [1], [2, 3], [4], [5, 6], [97], [98], [7]]
      + [Array("own".utf8), Array("three".utf8), Array("four".utf8), [8], [9, 10], [11]]
      + [Array("also".utf8)]
    #expect(try readAll(topic).records.map(\.payload) == expected)
  }

  /// Small slabs and buffers, so that records of all sizes take all paths.
  private static var small: QueueWriter.Options {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(64)
    options.bufferSize = .kibibytes(4)
    options.maximumPayload = .kibibytes(128)
    return options
  }

  @Test("returns the address and the ordinal at which the record is read, in every run")
  func results() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    var results: [QueueWriter.AppendResult] = []
    for run in 0..<3 {
      let writer = try QueueWriter(topic: topic, options: Self.small)
      for number in 0..<700 {
        let length = number == 300 ? 70_000 : number == 500 ? 4_088 : number % 50
        let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: run &+ number), count: length)
        switch number % 3 {
        case 0: results.append(try writer.append(payload))
        case 1: results.append(try await writer.append(payload, ensuring: .flushed))
        default: results.append(try #require(try writer.appendIfRoom(payload.span.bytes)))
        }
      }
      try await writer.close()
    }
    let records = try readAll(topic).records
    #expect(results.map(\.address) == records.map(\.address))
    #expect(results.map(\.ordinal) == records.map(\.ordinal))
    #expect(results.map(\.ordinal) == Array(0..<2_100))
  }

  @Test("of a batch returns the range of its addresses and of its ordinals")
  func batchResults() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let writer = try QueueWriter(topic: topic, options: Self.small)
    try writer.append("before")
    let payloads = (0..<900).map { [UInt8](repeating: UInt8($0 % 251), count: $0 % 90) }
    let arrays = try writer.append(contentsOf: payloads)
    #expect(arrays.ordinals == 1..<901)
    let end = writer.position
    #expect(arrays.addresses.upperBound == end)
    let slices = try writer.append(contentsOf: payloads.map { $0[...] })
    #expect(slices.ordinals == 901..<1_801)
    let awaited = try await writer.append(contentsOf: payloads, ensuring: .flushed)
    #expect(awaited.ordinals == 1_801..<2_701)

    let nothing: [String] = []
    let none = try writer.append(contentsOf: nothing)
    let noneAwaited = try await writer.append(contentsOf: nothing, ensuring: .synced)
    #expect(none == noneAwaited)
    #expect(none.ordinals == 2_701..<2_701)
    #expect(none.addresses == writer.position..<writer.position)
    try await writer.close()

    let records = try readAll(topic).records
    #expect(records.count == 2_701)
    for (result, first) in [(arrays, 1), (slices, 901), (awaited, 1_801)] {
      #expect(result.addresses.lowerBound == records[first].address)
      #expect(result.addresses.contains(records[first + 899].address))
    }
  }
}
