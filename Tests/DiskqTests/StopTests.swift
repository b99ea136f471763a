// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import diskq

/// A verb ends before its work is done if it gets a signal, or if the reader of its output goes.
@Suite("Signals, and readers that go", .timeLimit(.minutes(5)))
struct StopTests {
  private static let signals = [SIGINT, SIGTERM, SIGHUP]

  /// A plain file whose end no test reaches. It holds a terabyte of zeros, each of which ends an
  /// empty record.
  private func endlessFile(_ directory: TemporaryDirectory) throws -> String {
    let path = directory.at("endless")
    #expect(try Diskq.shell("truncate -s 1T \"$1\"", path).status == 0)
    return path
  }

  private func state(_ topic: String) throws -> String? {
    try object(try Diskq.run("info", topic, "--json").lines[0])["state"] as? String
  }

  // MARK: append

  @Test(
    "a signal in the middle of a file is no success, and says how many of its records are stored",
    arguments: signals)
  func file(signal: Int32) throws {
    let directory = try TemporaryDirectory()
    let (topic, first) = (directory.at("topic"), directory.at("first"))
    try writeFile(first, Array("\0\0\0".utf8))
    let endless = try endlessFile(directory)
    let program = try RunningDiskq(
      "append", topic, "--delimiter", "nul", "--print-addresses", first, endless, first)
    for _ in 0..<4 { #expect(try program.readLine() != nil) }
    program.send(signal)
    let outcome = try program.outcome()
    #expect(outcome.status == 128 + signal)
    let stored = outcome.lines.count + 4
    let name = [SIGINT: "SIGINT", SIGTERM: "SIGTERM", SIGHUP: "SIGHUP"][signal]
    #expect(
      outcome.errorLines == [
        "diskq: stopped by \(name ?? ""): stored all of the input before, and \(stored - 3) records"
          + " of \(endless), and nothing of the rest, nor of the input after it [\(topic)]"
      ])
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    #expect(info["records"] as? Int == stored)
    #expect(info["state"] as? String == "closed")
  }

  @Test("after the lock was taken away, only what was synced before counts as stored")
  func lockTakenAway() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let program = try RunningDiskq("append", topic, "--ensure", "synced", "--print-addresses")
    try program.write("one\ntwo\n")
    for _ in 0..<2 { #expect(try program.readLine() != nil) }
    try removeFile(topic + "/lock")
    #expect(try Diskq.run("append", topic, input: "other one\nother two\n").status == 0)
    try program.write("three\n")
    try program.closeInput()
    let outcome = try program.outcome()
    #expect(outcome.status == 2)
    #expect(outcome.lines == [])
    #expect(outcome.errorLines.last?.hasPrefix("diskq: stored 2 records of standard input") == true)
    #expect(try Diskq.run("read", topic).lines == ["one", "two", "other one", "other two"])
  }

  @Test("a plain file on standard input has an end of its own as well")
  func redirectedFile() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let program = try RunningDiskq(
      ["append", topic, "--delimiter", "nul", "--print-addresses"],
      input: try endlessFile(directory))
    #expect(try program.readLine() == "128")
    program.send(SIGTERM)
    let outcome = try program.outcome()
    #expect(outcome.status == 128 + SIGTERM)
    #expect(outcome.errors.contains("records of standard input, and nothing of the rest"))
    #expect(try state(topic) == "closed")
  }

  @Test("a signal is the end of a pipe, unless an input after it was not begun", arguments: signals)
  func pipes(signal: Int32) throws {
    let directory = try TemporaryDirectory()
    let (topic, more) = (directory.at("topic"), directory.at("more"))
    try writeFile(more, Array("more\n".utf8))
    for files in [[more, "-"], ["-", more]] {
      let program = try RunningDiskq(
        ["append", topic, "--flush-every", "never", "--print-addresses"] + files)
      try program.write("one\ntwo\n")
      let known = files[0] == more ? 3 : 2
      for _ in 0..<known { #expect(try program.readLine() != nil) }
      program.send(signal)
      let outcome = try program.outcome()
      #expect(outcome.status == (files[1] == "-" ? 0 : 128 + signal))
      #expect(
        outcome.errors.contains("stored 2 records of standard input, up to line 2, and nothing of")
          == (files[0] == "-"))
      #expect(try state(topic) == "closed")
    }
    #expect(try Diskq.run("read", topic).lines == ["more", "one", "two", "one", "two"])
  }

  @Test("how far it came is said of the input it was at, and of those before and after it")
  func sentences() {
    var inputs = AppendedInputs(total: 5, isLines: true)
    #expect(inputs.sentence(stored: 0) == "stored nothing")
    inputs.add("a", records: 10)
    #expect(
      inputs.sentence(stored: 1)
        == "stored 1 record of a, up to line 1, and nothing of the rest, nor of the"
        + " 4 inputs after it"
    )
    inputs.add("b", records: 20)
    inputs.add("c", records: 5)
    #expect(
      inputs.sentence(stored: 34)
        == "stored all of the 2 inputs before, and 4 records of c, up to line 4, and nothing of the"
        + " rest, nor of the 2 inputs after it")
    // Records that could not be synced are not stored, so the sentence names an earlier line.
    #expect(
      inputs.sentence(stored: 12)
        == "stored all of the input before, and 2 records of b, up to line 2, and nothing of the"
        + " rest, nor of the 3 inputs after it")
    #expect(inputs.sentence(stored: 99).contains(" 5 records of c, up to line 5,"))
    var whole = AppendedInputs(total: 1, isLines: false)
    whole.add("a", records: 1)
    #expect(whole.sentence(stored: 0) == "stored 0 records of a, and nothing of the rest")
    #expect(whole.sentence(stored: 1) == "stored 1 record of a, and nothing of the rest")
  }

  @Test("when nobody reads the addresses any more, it ends while it waits for input")
  func closedAddresses() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let program = try RunningDiskq("append", topic, "--print-addresses")
    try program.write("one\n")
    #expect(try program.readLine() == "128")
    try program.closeOutput()
    let outcome = try program.outcome()
    #expect(outcome.status == 2)
    #expect(
      outcome.errorLines.first == "diskq: standard output was closed before all was printed")
    #expect(try Diskq.run("read", topic).lines == ["one"])
  }

  // MARK: Other verbs

  @Test("consume that is stopped before the end says so by its status", arguments: signals)
  func consume(signal: Int32) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 60_000)
    let program = try RunningDiskq("consume", topic, "--consumer", "one")
    #expect(try program.readLine() == "record 0")
    program.send(signal)
    let outcome = try program.outcome()
    #expect(outcome.status == 128 + signal)
    let reached = try #require(try consumer("one", of: topic)["ordinal"] as? Int)
    #expect(reached <= outcome.lines.count + 1)
    let rest = try Diskq.run("consume", topic, "--consumer", "one")
    #expect(rest.status == 0)
    #expect(rest.lines == recordLines(reached..<60_000))
  }

  @Test(
    "a verb that has nothing to finish ends by the signal", arguments: signals, ["read", "dump"])
  func atOnce(signal: Int32, verb: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    // The topic has more records than the pipe and the program hold.
    try makeTopic(topic, records: 60_000)
    let program = try RunningDiskq(verb, verb == "dump" ? try slabPaths(topic)[0] : topic)
    _ = try program.readLine()
    program.send(signal)
    #expect(try program.outcome().status == 128 + signal)
  }

  @Test(
    """
    a follower whose reader goes ends while it waits; consume frees its name and acknowledges no \
    more
    """,
    arguments: ["read", "consume"])
  func closedFollower(verb: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 5)
    let options = verb == "consume" ? ["--consumer", "one"] : []
    let program = try RunningDiskq([verb, topic, "--follow"] + options)
    for line in recordLines(0..<5) { #expect(try program.readLine() == line) }
    try program.closeOutput()
    let outcome = try program.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.errors == "")
    guard verb == "consume" else { return }
    let reached = try #require(try consumer("one", of: topic)["ordinal"] as? Int)
    let rest = try Diskq.run("consume", topic, "--consumer", "one")
    #expect(rest.status == 0)
    #expect(rest.lines == recordLines(reached..<5))
  }

  #if os(Linux)
    @Test("a pipe's reader that goes after a line leaves the records that it did not take")
    func head() throws {
      let directory = try TemporaryDirectory()
      let topic = directory.at("topic")
      // All the records fit into the pipe.
      try makeTopic(topic, records: 1_000)
      let consumed = try Diskq.shell(
        "{ \"$0\" consume \"$1\" --consumer one; echo \"status $?\" >&2; } | head -n 1", topic)
      #expect(consumed.lines == ["record 0"])
      #expect(consumed.errorLines == ["status 0"])
      let reached = try #require(try consumer("one", of: topic)["ordinal"] as? Int)
      #expect(reached <= 1)
      #expect(
        try Diskq.run("consume", topic, "--consumer", "one").lines == recordLines(reached..<1_000))
    }

    @Test(
      "the first process of a container is stopped by signals as well",
      .enabled(if: Unsharing.flags("pf") != nil), arguments: signals)
    func firstProcess(signal: Int32) throws {
      let directory = try TemporaryDirectory()
      let topic = directory.at("topic")
      try makeTopic(topic, records: 60_000)
      let program = try RunningDiskq(
        [try #require(Unsharing.flags("pf")), Diskq.path, "read", topic],
        program: "/usr/bin/unshare")
      #expect(try program.readLine() == "record 0")
      try program.sendToChild(signal)
      #expect(try program.outcome().status == 128 + signal)
    }
  #endif

  // MARK: No arguments

  #if os(Linux)
    /// Whether `.ci/sanitize` runs the tests. A sanitizer cannot work without /proc: it complains,
    /// and AddressSanitizer replaces the status.
    private static let isSanitized = ["ASAN_OPTIONS", "TSAN_OPTIONS"].contains {
      ProcessInfo.processInfo.environment[$0] != nil
    }

    @Test(
      "without /proc, and so without arguments, nothing is done, and that is an error",
      .enabled(if: Unsharing.flags("m") != nil && !Self.isSanitized))
    func withoutProc() throws {
      let directory = try TemporaryDirectory()
      let topic = directory.at("topic")
      let outcome = try Diskq.shell(
        """
        exec unshare "$2" sh -c 'mount -t tmpfs tmpfs /proc && echo one | exec "$0" append "$1"' \
        "$0" "$1"
        """, topic, try #require(Unsharing.flags("m")))
      #expect(outcome.status == 64)
      #expect(outcome.output.isEmpty)
      #expect(outcome.errorLines.count == 1)
      #expect(outcome.errors.contains("mount /proc (mount -t proc proc /proc)"))
      #expect(!FileManager.default.fileExists(atPath: topic))
    }
  #endif

  @Test("no arguments at all, not even a name, are an error; a name alone asks for the overview")
  func withoutName() throws {
    var arguments: [UnsafeMutablePointer<CChar>?] = [nil]
    var child: pid_t = 0
    #expect(posix_spawn(&child, Diskq.path, nil, nil, &arguments, nil) == 0)
    var status: Int32 = 0
    #expect(waitpid(child, &status, 0) == child)
    #expect(status >> 8 & 0xFF == 64)
    #expect(try Diskq.run().status == 0)
    for (arguments, isEnough) in [
      ([], false), ([""], false), (["diskq"], true), (["", "info"], true),
    ] as [([String], Bool)] {
      #expect(diskq.Diskq.hasArguments(arguments) == isEnough)
    }
  }
}

#if os(Linux)
  /// The flags with which unshare(1) works here: as root, or as the root of a user namespace of its
  /// own.
  private enum Unsharing {
    static func flags(_ letters: String) -> String? {
      ["-\(letters)", "-r\(letters)"].first { flags in
        (try? Diskq.shell("exec unshare \(flags) true"))?.status == 0
      }
    }
  }
#endif
