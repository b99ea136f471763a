// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("The id of a topic")
struct TopicIDTests {
  @Test("a new topic gets one, and keeps it: the writer, the topic and its copy agree")
  func stays() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let first = try QueueWriter(topic: topic)
    try first.append("one")
    try first.close()
    let second = try QueueWriter(topic: topic)
    #expect(second.topicID == first.topicID)
    #expect(try topic.id() == first.topicID)
    try topic.snapshot(to: directory.path + "/copy")
    #expect(try Topic(directory.path + "/copy").id() == first.topicID)
    let other = try QueueWriter(topic: Topic(directory.path + "/other"))
    #expect(other.topicID != first.topicID)
    try second.close()
    try other.close()
  }

  @Test("in memory as on a disk, and nil in an empty directory")
  func places() throws {
    let topic = Topic.memory()
    #expect(try topic.id() == nil)
    let writer = try QueueWriter(topic: topic)
    try writer.append("one")
    #expect(try topic.id() == writer.topicID)
    try writer.close()
    let directory = try TemporaryDirectory()
    #expect(try Topic(directory.path).id() == nil)
    #expect(queueError { _ = try Topic(directory.path + "/none").id() }?.code == .noSuchTopic)
  }

  @Test("it is written as 16 hexadecimal digits, and read from nothing else")
  func text() {
    let id = TopicID(rawValue: 0x2f)
    #expect("\(id)" == "000000000000002f")
    #expect(TopicID("000000000000002f") == id)
    #expect(TopicID("ffffffffffffffff")?.rawValue == .max)
    for text in [
      "", "2f", "000000000000002F", "+00000000000002f", "00000000000000002f", "g000000000000000",
    ] {
      #expect(TopicID(text) == nil, "\(text)")
    }
  }
}
