// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueFoundation
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("Foundation's types")
struct FoundationTests {
  @Test("Data holds the bytes of a borrowed record, also of an empty one")
  func data() throws {
    let payloads: [[UInt8]] = [[0, 255, 7], [], Array("21.5".utf8)]
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    for payload in payloads { try writer.append(payload) }
    var reader = try QueueReader(topic: topic)
    var read: [Data] = []
    while let record = try reader.next() { read.append(Data(record.payload)) }
    #expect(read == payloads.map { Data($0) })
    try writer.close()
  }

  @Test("Data is a payload and a key, also a slice and one that a closure returns")
  func dataAsKey() async throws {
    let text = "customer 17"
    let key = Data(text.utf8)
    // The list has a shard for exactly these bytes.
    let topic = ShardedTopic.memory(shards: 10, by: .keys(["", text]))
    let writer = try ShardedWriter(topic: topic)
    try writer.append("0", key: key)
    try writer.append(Data("1".utf8), key: ([0] + key).dropFirst())
    try await writer.append(Data("2".utf8), key: key, ensuring: .synced)
    try writer.append(contentsOf: [Data("3".utf8)], key: key)
    try writer.append(contentsOf: [Data("4".utf8), Data()], keyedBy: { $0.isEmpty ? $0 : key })
    try await writer.append(contentsOf: ["5"], keyedBy: { _ in key }, ensuring: .synced)
    #expect(try writer.shard(of: key) == 1 && topic.shard(of: Data()) == 0)
    var reader = try topic.reader(ofKey: key)
    for number in 0..<6 { #expect(try reader.nextCopy()?.text == "\(number)") }
    #expect(try reader.nextCopy() == nil)
    try await writer.close()
  }

  @Test("Data is appended as its bytes, one or a batch, also an empty one")
  func dataAsPayload() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append(Data([0, 255]))
    try writer.append(contentsOf: [Data([7]), Data(), Data([1, 2, 3]).dropFirst()])
    try writer.close()
    #expect(try readAll(topic).records.map(\.payload) == [[0, 255], [7], [], [2, 3]])
  }

  @Test("a file URL names the topic at its path, with or without a slash at the end")
  func fileURL() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/a topic"
    let url = URL(filePath: path)
    let writer = try QueueWriter(topic: Topic(url))
    try writer.append("21.5")
    try writer.close()
    #expect(try Topic(url) == Topic(path))
    #expect(try Topic(URL(filePath: path, directoryHint: .isDirectory)) == Topic(path))
    #expect(try readAll(Topic(path)).records.map(\.text) == ["21.5"])
  }

  @Test("a relative file URL is resolved like a path, and the root keeps its slash")
  func relativeURL() throws {
    let current = FileManager.default.currentDirectoryPath
    #expect(try Topic(URL(filePath: "sensors")) == Topic(current + "/sensors"))
    #expect(try Topic(URL(filePath: "/")).description == "/")
  }

  @Test(
    "a URL that names no directory is refused",
    arguments: ["https://example.org/sensors", "sensors", "file:///%FF"])
  func refusedURL(_ text: String) throws {
    let url = try #require(URL(string: text))
    let error = #expect(throws: QueueError.self) { try Topic(url) }
    #expect(error?.code == .notATopic)
    #expect(error?.path == url.absoluteString)
  }

  /// Errors of several causes, some with a path or an address.
  private func errors() throws -> [any Error] {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let writer = try QueueWriter(topic: topic)
    try writer.append("21.5")
    try writer.flush()
    var options = QueueWriter.Options()
    options.maximumPayload = .bytes(-1)
    var reader = try QueueReader(topic: topic)
    let far = Address(rawValue: 1 << 20)
    let errors: [(any Error)?] = [
      #expect(throws: QueueError.self) { _ = try QueueWriter(topic: topic) },
      #expect(throws: QueueError.self) { _ = try QueueWriter(topic: topic, options: options) },
      #expect(throws: QueueError.self) { _ = try QueueReader(topic: "/nowhere/at/all") },
      #expect(throws: QueueError.self) { _ = try QueueReader(topic: "") },
      #expect(throws: QueueError.self) { _ = try QueueReader(topic: topic, from: .address(far)) },
      #expect(throws: QueueError.self) { _ = try QueueConsumer(topic: topic, name: "a name") },
      #expect(throws: QueueError.self) { _ = try reader.record(at: writer.position) },
      #expect(throws: QueueError.self) { _ = try reader.record(ordinal: 1) },
      #expect(throws: QueueError.self) { try QueueRecord(payload: [1]).value(JSONCodec<Int>()) },
    ]
    try writer.close()
    return errors.compactMap { $0 }
  }

  @Test("localizedDescription is a sentence that says what to do, and where")
  func localizedDescription() throws {
    let errors = try errors()
    #expect(errors.count == 9)
    for error in errors {
      let sentence = error.localizedDescription
      #expect(sentence == (error as? QueueError)?.errorDescription)
      #expect(sentence.hasSuffix("."), "\(sentence)")
      #expect(!sentence.contains(".."), "\(sentence)")
      let firstWord = sentence.prefix { $0 != " " }
      let isAnOption = firstWord.dropFirst().contains { $0.isUppercase }
      #expect(sentence.first?.isUppercase == true || isAnOption, "\(sentence)")
      if let path = (error as? QueueError)?.path, !path.isEmpty {
        #expect(sentence.contains("Path: \(path)."))
      }
      if let address = (error as? QueueError)?.address {
        #expect(sentence.contains("Address: \(address)."))
      }
    }
    let second = try #require(errors.dropFirst(2).first)
    #expect(
      second.localizedDescription
        == "There is no topic at this path: check it, or append to create one."
        + " Path: /nowhere/at/all.")
  }
}
