// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq append")
struct AppendTests {
  @Test("what is appended from a file is read again, line by line")
  func roundTrip() throws {
    let directory = try TemporaryDirectory()
    let appended = try Diskq.run("append", directory.at("topic"), Fixture.temperatures)
    #expect(appended.status == 0)
    #expect(appended.output.isEmpty)
    #expect(appended.errors.isEmpty)
    // The file's last line has no newline. Like `awk 1`, reading adds one.
    let expected = try Data(contentsOf: URL(fileURLWithPath: Fixture.temperatures)) + [0x0A]
    let read = try Diskq.run("read", directory.at("topic"))
    #expect(read.status == 0)
    #expect(read.output == Array(expected))
  }

  @Test("an empty line is an empty record, and so is an unterminated last line one")
  func lines() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    #expect(try Diskq.run("append", topic, input: "\none\n\ntwo").status == 0)
    #expect(try Diskq.run("append", topic, input: "").status == 0)
    #expect(try Diskq.run("append", topic, input: "three\n").status == 0)
    let read = try Diskq.run("read", topic, "--format", "hex")
    #expect(read.lines == ["", "6f6e65", "", "74776f", "7468726565"])
  }

  @Test("records may end in a zero byte")
  func zeroBytes() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let appended = try Diskq.run(
      "append", topic, "--delimiter", "nul", input: "two\nlines\0\0last")
    #expect(appended.status == 0)
    let read = try Diskq.run("read", topic, "--format", "hex")
    #expect(read.lines == ["74776f0a6c696e6573", "", "6c617374"])
  }

  @Test("records may stand behind their lengths, and be printed so")
  func lengthPrefixed() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let input: [UInt8] = [3, 0, 0, 0, 1, 10, 255, 0, 0, 0, 0, 1, 0, 0, 0, 7]
    #expect(try Diskq.run(["append", topic, "--length-prefixed"], input: input).status == 0)
    #expect(try Diskq.run("read", topic, "--format", "hex").lines == ["010aff", "", "07"])
    #expect(try Diskq.run("read", topic, "--format", "length-prefixed").output == input)
  }

  @Test("each file may be one record, an empty one too")
  func whole() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let large = [UInt8](repeating: 0x61, count: 700_000) + [0x0A, 0x62]
    try Data(large).write(to: URL(fileURLWithPath: directory.at("large")))
    try Data().write(to: URL(fileURLWithPath: directory.at("empty")))
    let appended = try Diskq.run(
      "append", topic, "--whole", directory.at("large"), directory.at("empty"), "-",
      input: "from\nstandard input\n")
    #expect(appended.status == 0)
    let read = try Diskq.run("read", topic, "--format", "raw")
    #expect(read.output == large + Array("from\nstandard input\n".utf8))
    let described = try Diskq.run("read", topic, "--format", "json", "--from", "ordinal:1").lines
    #expect(described.count == 2)
    #expect(try object(described[0])["length"] as? Int == 0)
  }

  @Test("a line longer than any buffer is one record")
  func longLine() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let input = Array("short\n".utf8) + [UInt8](repeating: 0x7A, count: 3_000_000) + [0x0A, 0x79]
    #expect(try Diskq.run(["append", topic], input: input).status == 0)
    #expect(try Diskq.run("read", topic).output == input + [0x0A])
  }

  @Test("a record above the largest payload ends it, and says where; what came before is kept")
  func tooLong() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let appended = try Diskq.run(
      "append", topic, "--maximum-payload", "10", input: "0123456789\nabc\n01234567890\nlast\n")
    #expect(appended.status == 2)
    #expect(appended.errorLines.count == 2)
    #expect(appended.errors.contains("record 3, which starts at byte 15, is longer than"))
    #expect(appended.errors.contains("[standard input]"))
    #expect(try Diskq.run("read", topic).lines == ["0123456789", "abc"])
    #expect(try Diskq.run("verify", topic).lines.last?.hasSuffix(": no damage") == true)
  }

  @Test(
    "a length-prefixed input that is cut off ends it, and says where; what came before is kept",
    arguments: [[2, 0], [2, 0, 0, 0], [2, 0, 0, 0, 9]] as [[UInt8]])
  func cutOff(tail: [UInt8]) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let input = [1, 0, 0, 0, 0x61] + tail
    let appended = try Diskq.run(["append", topic, "--length-prefixed"], input: input)
    #expect(appended.status == 2)
    #expect(appended.errorLines.count == 2)
    #expect(appended.errors.contains("the input ends inside record 2, which starts at byte 5,"))
    #expect(try Diskq.run("read", topic).lines == ["a"])
  }

  @Test("a file that is not there is told before anything is made")
  func missingFile() throws {
    let directory = try TemporaryDirectory()
    let outcome = try Diskq.run(
      "append", directory.at("topic"), Fixture.temperatures, directory.at("missing"))
    #expect(outcome.status == 2)
    #expect(
      outcome.errorLines == [
        "diskq: opening the file failed: No such file or directory [\(directory.at("missing"))]"
      ])
    #expect(try snapshot(directory.path).isEmpty)
  }

  @Test(
    "each record's address is printed, and reads that record",
    arguments: ["buffered", "flushed", "synced"])
  func addresses(level: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 300, options: ["--ensure", level])
    #expect(addresses.count == 300)
    #expect(addresses == addresses.sorted())
    for number in [0, 150, 299] {
      let read = try Diskq.run("read", topic, "--from", "\(addresses[number])", "--limit", "1")
      #expect(read.lines == ["record \(number)"])
    }
  }

  @Test("an address is printed when its record is durable, while the input is still open")
  func slowInput() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let running = try RunningDiskq("append", topic, "--print-addresses", "--ensure", "synced")
    for number in 0..<20 {
      try running.write("slow \(number)\n")
      let address = try #require(try running.readLine())
      // The record is durable, and so other processes can read it.
      let read = try Diskq.run("read", topic, "--from", address)
      #expect(read.lines == ["slow \(number)"])
    }
    try running.closeInput()
    let outcome = try running.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.output.isEmpty)
    #expect(try Diskq.run("info", topic).text.contains("state    closed\n"))
  }

  @Test(
    "a signal ends it as the end of input would, and half a line is no record",
    arguments: [SIGINT, SIGTERM, SIGHUP])
  func signals(number: Int32) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let running = try RunningDiskq("append", topic, "--print-addresses")
    try running.write("whole\nha")
    #expect(try running.readLine() == "128")
    running.send(number)
    let outcome = try running.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.errors.isEmpty)
    #expect(try Diskq.run("read", topic).lines == ["whole"])
    #expect(try Diskq.run("info", topic).text.contains("state    closed\n"))
  }

  @Test("a named pipe is read to its end, and a signal ends the wait for one that nobody opens")
  func namedPipes() throws {
    let directory = try TemporaryDirectory()
    let (topic, pipe) = (directory.at("topic"), directory.at("pipe"))
    #expect(mkfifo(pipe, 0o600) == 0)
    let read = try Diskq.shell(
      "(echo one; echo two) >\"$2\" & \"$0\" append \"$1\" \"$2\"", topic, pipe)
    #expect(read.status == 0)
    try writeFile(directory.at("three"), Array("three\n".utf8))
    let running = try RunningDiskq(
      "append", topic, directory.at("three"), pipe, "--print-addresses")
    // The program prints the address before it waits.
    #expect(try running.readLine() != nil)
    running.send(SIGINT)
    #expect(try running.outcome().status == 0)
    #expect(try Diskq.run("read", topic).lines == ["one", "two", "three"])
    #expect(try Diskq.run("info", topic).text.contains("state    closed\n"))
  }

  @Test("a second writer is refused while the first one has the topic open")
  func twoWriters() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let first = try RunningDiskq("append", topic, "--print-addresses", "--ensure", "flushed")
    try first.write("first\n")
    #expect(try first.readLine() == "128")
    let second = try Diskq.run("append", topic, input: "second\n")
    #expect(second.status == 2)
    #expect(second.errorLines.count == 1)
    #expect(second.errors.hasPrefix("diskq: another writer (process "))
    #expect(second.errors.hasSuffix(" [\(topic)]\n"))
    try first.closeInput()
    #expect(try first.outcome().status == 0)
    #expect(try Diskq.run("read", topic).lines == ["first"])
  }

  @Test("a topic that was not closed is recovered, and that is said")
  func recovery() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    let slab = try #require(try slabPaths(topic).first)
    // The file is cut in the middle of the last record.
    try truncateFile(slab, to: addresses[99] + 12)
    let appended = try Diskq.run("append", topic, input: "after\n")
    #expect(appended.status == 0)
    #expect(
      appended.errorLines == [
        "diskq: the topic had not been closed: it goes on in epoch 1, with 99 records kept after"
          + " the last proof of durability, and 12 bytes discarded after the last sound record"
          + " [\(topic)]"
      ])
    let expected = (0..<99).map { "record \($0)" } + ["after"]
    #expect(try Diskq.run("read", topic).lines == expected)
  }

  @Test("what queuefka wrote is gone on with, and that is said")
  func version1() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try FileManager.default.copyItem(atPath: Fixture.version1Topic, toPath: topic)
    let appended = try Diskq.run("append", topic, input: "after\n")
    #expect(appended.status == 0)
    #expect(appended.errorLines.count == 1)
    #expect(appended.errors.hasPrefix("diskq: the topic was written in version 1"))
    #expect(try Diskq.run("read", topic).lines == Fixture.readings() + ["after"])
  }

  @Test("without a standard output nothing is printed into the topic")
  func closedOutput() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let outcome = try Diskq.shell(
      "printf 'one\\ntwo\\n' | \"$0\" append \"$1\" --print-addresses >&-", topic)
    #expect(outcome.status == 2)
    #expect(outcome.errors.contains("[standard output]"))
    #expect(try Diskq.run("read", topic).lines == ["one", "two"])
    #expect(try Diskq.run("verify", topic).status == 0)
  }

  @Test("the number of records is reported with --verbose, and on a terminal")
  func verbose() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let silent = try Diskq.run("append", topic, input: "one\ntwo\n")
    #expect(silent.status == 0 && silent.errors == "")
    let verbose = try Diskq.run("append", topic, "--verbose", input: "three\n")
    #expect(verbose.status == 0)
    #expect(verbose.output == [])
    #expect(verbose.errorLines == ["diskq: 1 record appended [\(topic)]"])
    let empty = try Diskq.run("append", topic, "--verbose", input: "")
    #expect(empty.errorLines == ["diskq: 0 records appended [\(topic)]"])
  }

  #if os(Linux)
    @Test("on a terminal it shows the number without being asked", .enabled(if: canRun("script")))
    func terminal() throws {
      let directory = try TemporaryDirectory()
      let topic = directory.at("topic")
      try writeFile(directory.at("in"), Array("one\ntwo\n".utf8))
      // script(1) runs the program on a terminal of its own.
      let shown = try Diskq.shell(
        "script -qec \"'$0' append '$1' '$2'\" /dev/null", topic, directory.at("in"))
      #expect(shown.status == 0)
      #expect(shown.text.contains("diskq: 2 records appended [\(topic)]"))
    }
  #endif
}

/// Whether a shell finds a program.
private func canRun(_ program: String) -> Bool {
  (try? Diskq.shell("command -v \"$1\" >/dev/null", program))?.status == 0
}
