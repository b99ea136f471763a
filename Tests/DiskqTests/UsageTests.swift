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
      ["append", "TOPIC", "--flush-every", "0"], ["append", "TOPIC", "--flush-every", "1,2"],
      ["append", "TOPIC", "--flush-every", "1,"], ["append", "TOPIC", "--flush-every", "often"],
      ["append", "TOPIC", "--sync-every", "0ms"], ["append", "TOPIC", "--sync-every", "never,1s"],
      ["append", "TOPIC", "--sync-every", "1KiB,2B"],
      ["append", "TOPIC", "--sync-every", "1s,2ms"],
      ["append", "TOPIC", "--maximum-bytes", "10KiB"], ["append", "TOPIC", "--when-full", "cry"],
      ["append", "TOPIC", "--when-full", "wait"],
      ["append", "TOPIC", "--maximum-bytes", "64KiB", "--slab-size", "32KiB"],
      ["consume", "TOPIC"], ["consume", "TOPIC", "--consumer", "../up"],
      ["consume", "TOPIC", "--consumer", "a", "--exec", ""],
      ["consume", "TOPIC", "--consumer", "a", "--exec", " \n"],
      ["consume", "TOPIC", "--consumer", "a", "--exec", "cat", "--format", "raw"],
      ["consume", "TOPIC", "--consumer", "a", "--retries", "3"],
      ["consume", "TOPIC", "--consumer", "a", "--jobs", "3"],
      ["consume", "TOPIC", "--consumer", "a", "--linger", "1s"],
      ["consume", "TOPIC", "--consumer", "a", "--exec-batch", "3"],
      ["consume", "TOPIC", "--consumer", "a", "--exec", "cat", "--exec-batch", "0"],
      ["consume", "TOPIC", "--consumer", "a", "--exec", "cat", "--jobs", "1001"],
      ["consume", "TOPIC", "--consumer", "a", "--exec", "cat", "--batch", "5"],
      ["consume", "TOPIC", "--consumer", "a", "--batch", "1000001"],
      ["consume", "TOPIC", "--consumer", "a", "--dead-letter"],
      ["consume", "TOPIC", "--consumer", "a", "--exec", "cat", "--retry-delay", "61s"],
      ["consume", "TOPIC", "--consumer", "a", "--from", "3y"],
      ["consumers", "TOPIC", "--reset", "a"], ["consumers", "TOPIC", "--to", "earliest"],
      ["consumers", "TOPIC", "--delete", "."], ["consumers", "TOPIC", "--delete", "a", "--json"],
      ["consumers", "TOPIC", "--delete", "a", "--reset", "a", "--to", "latest"],
      ["clean"], ["clean", "TOPIC"], ["clean", "TOPIC", "--minimum-keep-bytes", "0"],
      ["clean", "TOPIC", "--keep-age", "1y"], ["clean", "TOPIC", "--keep-bytes", "-1"],
      ["clean", "TOPIC", "--keep-age", "1d", "--protect-consumers", "--ignore-consumers"],
      ["clean", "TOPIC", "--keep-age", "1d", "--protect-consumers", "--protect-consumer", "a"],
      ["clean", "TOPIC", "--keep-age", "1d", "--ignore-consumers", "--ignore-consumer", "a"],
      ["clean", "TOPIC", "--keep-age", "1d", "--protect-consumer", "a", "--ignore-consumer", "b"],
      ["clean", "TOPIC", "--keep-age", "1d", "--ignore-consumer", "a/b"],
      ["bench", "TOPIC", "--seconds", "0"], ["bench", "TOPIC", "--seconds", "nan"],
      ["bench", "TOPIC", "--seconds", "3601"], ["bench", "TOPIC", "--seconds", "20s"],
      ["bench", "TOPIC", "--payload", "0"], ["bench", "TOPIC", "--payload", "1025KiB"],
      ["bench", "TOPIC", "more"],
      ["read", "TOPIC", "--unfollow"],
      ["read", "TOPIC", "--format", "xml"], ["read", "TOPIC", "--damage", "ignore"],
      ["read", "TOPIC", "--limit", "-1"], ["read", "TOPIC", "--from", "yesterday"],
      ["read", "TOPIC", "--from", "ordinal:"], ["read", "TOPIC", "--from", "2010-02-30"],
      ["read", "TOPIC", "--from", "2010-01-01T24:00"], ["read", "TOPIC", "--from", "3y"],
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

  @Test("what the library refuses is said with the names of the command line's options")
  func names() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let wait = try Diskq.run("append", topic, "--when-full", "wait")
    #expect(
      wait.errorLines.first
        == "Error: --when-full is wait, and needs --maximum-bytes or --maximum-records: the"
        + " writer cannot wait for a full disk")
    let slab = try Diskq.run("append", topic, "--maximum-bytes", "64KiB", "--slab-size", "1MiB")
    #expect(
      slab.errorLines.first == "Error: --slab-size is 1MiB, and must be at most a quarter of"
        + " --maximum-bytes (64KiB), because the writer makes room one whole slab at a time:"
        + " leave it out, and the writer chooses one that fits")
    for arguments in [
      ["clean", topic, "--keep-records", "1e6"], ["append", topic, "--maximum-records", "-5"],
    ] {
      #expect(try Diskq.run(arguments).errors.contains(": it takes a whole number"))
    }
    let jobs = try Diskq.run("consume", topic, "--consumer", "a", "--exec", "cat", "--jobs", "0")
    #expect(jobs.errors.contains(": it takes a whole number from 1 to 1000\n"))
    try makeTopic(topic, records: 1)
    let read = try Diskq.run("read", topic, "--maximum-payload", "3")
    #expect(read.errors.contains("raise --maximum-payload to read it"))
  }

  /// The arguments that a verb needs beside a topic.
  private static func more(_ verb: String, _ directory: TemporaryDirectory) -> [String] {
    switch verb {
    case "repair": [directory.at("new")]
    case "consume": ["--consumer", "one"]
    case "clean": ["--keep-age", "7d"]
    default: []
    }
  }

  @Test(
    "a topic that is not there cannot be read",
    arguments: ["read", "info", "verify", "repair", "consume", "consumers", "clean"])
  func missingTopic(verb: String) throws {
    let directory = try TemporaryDirectory()
    let more = Self.more(verb, directory)
    let outcome = try Diskq.run([verb, directory.at("topic")] + more)
    #expect(outcome.status == 2)
    #expect(outcome.output.isEmpty)
    #expect(
      outcome.errorLines == [
        "diskq: there is no topic at this path: check it, or append to create one"
          + " [\(directory.at("topic"))]"
      ])
    #expect(try snapshot(directory.path).isEmpty)
  }

  @Test(
    "a file is no topic, and stays as it is",
    arguments: ["append", "read", "info", "verify", "repair", "consume", "consumers", "clean"])
  func fileAsTopic(verb: String) throws {
    let directory = try TemporaryDirectory()
    try Data("mine".utf8).write(to: URL(fileURLWithPath: directory.at("file")))
    let more = Self.more(verb, directory)
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
