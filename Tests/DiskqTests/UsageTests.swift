// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("Usage and errors that all verbs share")
struct UsageTests {
  @Test("the version is printed")
  func version() throws {
    let outcome = try Diskq.run("--version")
    #expect(outcome.status == 0)
    #expect(outcome.lines == ["0.1.0"])
  }

  @Test(
    "wrong usage is 64, says so on standard error, and makes nothing",
    arguments: [
      ["bogus"], ["append"], ["read"], ["info"], ["verify"], ["repair", "one"], ["dump"],
      ["append", "TOPIC", "--slab-size", "12"], ["append", "TOPIC", "--slab-size", "4kb"],
      ["append", "TOPIC", "--slab-size", "-1"], ["append", "TOPIC", "--maximum-payload", "5GiB"],
      ["append", "TOPIC", "--whole", "--length-prefixed"],
      ["append", "TOPIC", "--whole", "--delimiter", "nul"],
      ["append", "TOPIC", "--delimiter", "comma"], ["append", "TOPIC", "--ensure", "hope"],
      ["append", "TOPIC", "--flush-every", "1"], ["read", "TOPIC", "--unfollow"],
      ["read", "TOPIC", "--format", "xml"], ["read", "TOPIC", "--damage", "ignore"],
      ["read", "TOPIC", "--limit", "-1"], ["read", "TOPIC", "--from", "yesterday"],
      ["read", "TOPIC", "--from", "ordinal:"], ["read", "TOPIC", "--from", "2010-02-30"],
      ["read", "TOPIC", "--from", "2010-01-01T24:00"], ["read", "TOPIC", "--from", "3w"],
      ["read", "TOPIC", "--from", "99999999999999999999"], ["info", "TOPIC", "more"],
    ])
  func wrongUsage(arguments: [String]) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let outcome = try Diskq.run(arguments.map { $0 == "TOPIC" ? topic : $0 })
    #expect(outcome.status == 64)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errors.contains("Usage: diskq"))
    #expect(!FileManager.default.fileExists(atPath: topic))
  }

  @Test(
    "a topic that is not there cannot be read", arguments: ["read", "info", "verify", "repair"])
  func missingTopic(verb: String) throws {
    let directory = try TemporaryDirectory()
    let more = verb == "repair" ? [directory.at("new")] : []
    let outcome = try Diskq.run([verb, directory.at("topic")] + more)
    #expect(outcome.status == 2)
    #expect(outcome.output.isEmpty)
    #expect(
      outcome.errorLines == [
        "diskq: there is no topic at this path: check it, or append to make one"
          + " [\(directory.at("topic"))]"
      ])
    #expect(try snapshot(directory.path).isEmpty)
  }

  @Test(
    "a file is no topic, and stays as it is",
    arguments: ["append", "read", "info", "verify", "repair"])
  func fileAsTopic(verb: String) throws {
    let directory = try TemporaryDirectory()
    try Data("mine".utf8).write(to: URL(fileURLWithPath: directory.at("file")))
    let more = verb == "repair" ? [directory.at("new")] : []
    let outcome = try Diskq.run([verb, directory.at("file")] + more, input: Array("x\n".utf8))
    #expect(outcome.status == 2)
    #expect(outcome.errorLines.count == 1)
    #expect(outcome.errors.hasPrefix("diskq: a topic is a directory"))
    #expect(try snapshot(directory.path) == ["file": Array("mine".utf8)])
  }

  @Test(
    "a directory of other files is no topic, and stays as it is",
    arguments: ["append", "read", "info", "verify", "repair"])
  func directoryOfOtherFiles(verb: String) throws {
    let directory = try TemporaryDirectory()
    let others = try TemporaryDirectory()
    try Data("mine".utf8).write(to: URL(fileURLWithPath: others.at("notes.txt")))
    let more = verb == "repair" ? [directory.at("new")] : []
    let outcome = try Diskq.run([verb, others.path] + more, input: Array("x\n".utf8))
    #expect(outcome.status == 2)
    #expect(
      outcome.errorLines == [
        "diskq: the directory holds other files and no topic: check the path [\(others.path)]"
      ])
    #expect(try snapshot(others.path) == ["notes.txt": Array("mine".utf8)])
  }
}
