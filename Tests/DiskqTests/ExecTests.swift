// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq consume --exec")
struct ExecTests {
  /// Runs the program with a command in which `$FILE` is a file in the directory.
  private func exec(
    _ command: String, _ directory: TemporaryDirectory, _ options: String...
  ) throws -> Outcome {
    try Diskq.run(arguments(command, directory) + options)
  }

  private func arguments(_ command: String, _ directory: TemporaryDirectory) -> [String] {
    let line = "FILE='\(directory.at("file"))'; \(command)"
    return ["consume", directory.at("topic"), "--consumer", "one", "--exec", line]
  }

  private func makeTopic(_ directory: TemporaryDirectory, records: Int) throws -> [Int] {
    try DiskqTests.makeTopic(directory.at("topic"), records: records)
  }

  private func ordinal(_ directory: TemporaryDirectory) throws -> Int? {
    try consumer("one", of: directory.at("topic"))["ordinal"] as? Int
  }

  @Test("each record comes on standard input, with where it stands in the environment")
  func input() throws {
    let directory = try TemporaryDirectory()
    let addresses = try makeTopic(directory, records: 4)
    let consumed = try exec(
      "cat; echo \" $DISKQ_ORDINAL $DISKQ_ADDRESS $DISKQ_CONSUMER $DISKQ_TOPIC\"", directory,
      "--limit", "3")
    #expect(consumed.status == 0 && consumed.errors == "")
    let topic = directory.at("topic")
    #expect(
      consumed.lines == (0..<3).map { "record \($0) \($0) \(addresses[$0]) one \(topic)" })
    #expect(try ordinal(directory) == 3)
    // A command that does not read its input still takes the record.
    #expect(try exec("exit 0", directory).status == 0)
    #expect(try ordinal(directory) == 4)
  }

  @Test("a payload larger than a pipe is handed over whole")
  func large() throws {
    let directory = try TemporaryDirectory()
    let payload = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    #expect(
      try Diskq.run(["append", directory.at("topic"), "--whole"], input: payload).status == 0)
    #expect(try exec("cat >\"$FILE\"", directory).status == 0)
    #expect(try readFile(directory.at("file")) == payload)
    #expect(
      try Diskq.run(["append", directory.at("topic"), "--whole"], input: payload).status == 0)
    #expect(try exec("head -c 1 >/dev/null", directory).status == 0)
    #expect(try ordinal(directory) == 2)
  }

  @Test("a command that fails twice gets the same record again, and then the next one")
  func failsTwice() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 2)
    let consumed = try exec(
      "echo x >>\"$FILE\"; cat; echo; test $(wc -l <\"$FILE\") -ge 3", directory, "--retry-delay",
      "1ms")
    #expect(consumed.status == 0)
    #expect(consumed.lines == ["record 0", "record 0", "record 0", "record 1"])
    #expect(consumed.errorLines.count == 2)
    #expect(consumed.errorLines[0].contains("(exit status 1): trying again in 1ms"))
    #expect(consumed.errorLines[1].contains("(exit status 1): trying again in 2ms"))
    #expect(try ordinal(directory) == 2)
  }

  @Test(
    "a command that fails to the last is status 2, with the record's address, and unacknowledged")
  func failsAlways() throws {
    let directory = try TemporaryDirectory()
    let addresses = try makeTopic(directory, records: 3)
    let consumed = try exec(
      "read line; echo \"$line\"; test \"$line\" != 'record 1'", directory, "--retry-delay", "1ms",
      "--retries", "2")
    #expect(consumed.status == 2)
    #expect(consumed.lines == ["record 0", "record 1", "record 1", "record 1"])
    #expect(consumed.errorLines.count == 3)
    #expect(
      consumed.errorLines.last?.contains(
        "failed 3 times, at last with exit status 1: the record at address \(addresses[1]) is not")
        == true)
    #expect(try ordinal(directory) == 1)
    let killed = try exec("kill -9 $$", directory, "--retries", "0")
    #expect(killed.status == 2)
    #expect(killed.errors.contains("failed 1 time, at last with signal 9"))
    #expect(try ordinal(directory) == 1)
  }

  @Test("records in a row that it fails for are dead letters together, before a later one is taken")
  func manyDeadLetters() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 30)
    // The command fails for the first 20 records and for record 25.
    let consumed = try exec(
      "test $DISKQ_ORDINAL -ge 20 && test $DISKQ_ORDINAL -ne 25", directory, "--retries", "0",
      "--dead-letter")
    #expect(consumed.status == 0)
    #expect(consumed.errorLines.count == 21)
    #expect(try ordinal(directory) == 30)
    let dead = try Diskq.run("read", directory.at("topic.dead"), "--dead-letters")
    #expect(dead.lines == ((0..<20) + [25]).map { "record \($0)" })
  }

  @Test("with --dead-letter it is a dead letter, with the reason, and the next one comes")
  func deadLetter() throws {
    let directory = try TemporaryDirectory()
    let addresses = try makeTopic(directory, records: 3)
    let consumed = try exec(
      "read line; echo \"$line\"; test \"$line\" != 'record 1'", directory, "--retry-delay", "1ms",
      "--retries", "1", "--dead-letter")
    #expect(consumed.status == 0)
    #expect(consumed.lines == ["record 0", "record 1", "record 1", "record 2"])
    #expect(try ordinal(directory) == 3)
    let dead = try readAll(Topic(directory.at("topic.dead")))
    #expect(dead.records.count == 1)
    let letter = try DeadLetter(try #require(dead.records.first).payload)
    #expect(letter.address.rawValue == UInt64(addresses[1]))
    #expect(letter.ordinal == 1)
    #expect(letter.payload == Array("record 1".utf8))
    #expect(letter.reason == "the command failed 2 times, at last with exit status 1")
    let topic = directory.at("topic.dead")
    #expect(try Diskq.run("read", topic, "--dead-letters").lines == ["record 1"])
    let json = try Diskq.run("read", topic, "--dead-letters", "--format", "json").lines
    #expect(json.count == 1)
    let described = try object(json[0])
    #expect(described["address"] as? Int == 128)
    #expect(described["originalAddress"] as? Int == addresses[1])
    #expect(described["originalOrdinal"] as? Int == 1)
    #expect(described["reason"] as? String == letter.reason)
    #expect(described["text"] as? String == "record 1")
    let other = try Diskq.run("read", directory.at("topic"), "--dead-letters")
    #expect(other.status == 2)
    #expect(other.errors.contains("the payload is no dead letter"))
  }

  @Test("while another writer has the dead letters open, no record is acknowledged")
  func deadLettersLocked() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 1)
    let writer = try QueueWriter(topic: Topic(directory.at("topic.dead")))
    let options = ["--retry-delay", "1ms", "--retries", "0", "--dead-letter"]
    let consumed = try Diskq.run(arguments("exit 1", directory) + options)
    #expect(consumed.status == 2)
    #expect(consumed.errors.contains("another writer"))
    #expect(try ordinal(directory) == 0)
    try writer.close()
    #expect(try Diskq.run(arguments("exit 1", directory) + options).status == 0)
    #expect(try ordinal(directory) == 1)
  }

  @Test("a command that cannot be run is no record's fault: there is no retry and no dead letter")
  func missing() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 2)
    let consumed = try exec("/no/such/program", directory, "--dead-letter")
    #expect(consumed.status == 2)
    #expect(consumed.errors.contains("the shell cannot run the command (exit status 127)"))
    #expect(try ordinal(directory) == 0)
    #expect(!FileManager.default.fileExists(atPath: directory.at("topic.dead")))
  }

  @Test("a signal ends the wait between two attempts at once")
  func stoppedBackOff() throws {
    let directory = try TemporaryDirectory()
    let addresses = try makeTopic(directory, records: 1)
    let running = try RunningDiskq(
      arguments("echo failing; exit 1", directory) + ["--retry-delay", "60s"])
    #expect(try running.readLine() == "failing")
    running.send(SIGTERM)
    let outcome = try running.outcome()
    #expect(outcome.status == 128 + SIGTERM)
    #expect(outcome.output == [])
    #expect(
      outcome.errorLines.last?.contains("the record at address \(addresses[0]) is not acknowledged")
        == true)
    #expect(try ordinal(directory) == 0)
  }

  @Test("a signal waits for the command that runs, acknowledges what it took, and ends")
  func stoppedCommand() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 2)
    #expect(mkfifo(directory.at("file"), 0o600) == 0)
    let running = try RunningDiskq(
      arguments("echo started; read line <\"$FILE\"; echo \"$line\"", directory))
    #expect(try running.readLine() == "started")
    running.send(SIGTERM)
    try writeFile(directory.at("more"), Array("ended\n".utf8))
    #expect(
      try Diskq.shell("cat \"$1\" >\"$2\"", directory.at("more"), directory.at("file")).status == 0)
    let outcome = try running.outcome()
    #expect(outcome.status == 128 + SIGTERM)
    #expect(outcome.lines == ["ended"] && outcome.errors == "")
    #expect(try ordinal(directory) == 1)
  }

  // MARK: Several records a run

  @Test("with --exec-batch a run gets several records, and their places in the environment")
  func batch() throws {
    let directory = try TemporaryDirectory()
    let addresses = try makeTopic(directory, records: 10)
    let consumed = try exec(
      """
      cat; echo $DISKQ_COUNT $DISKQ_ADDRESS $DISKQ_FIRST_ADDRESS $DISKQ_LAST_ADDRESS \
      $DISKQ_ORDINAL $DISKQ_FIRST_ORDINAL $DISKQ_LAST_ORDINAL
      """, directory, "--exec-batch", "4", "--limit", "7")
    #expect(consumed.status == 0 && consumed.errors == "")
    func places(_ records: Range<Int>) -> String {
      let (first, last) = (records.lowerBound, records.upperBound - 1)
      return "\(records.count) \(addresses[first]) \(addresses[first]) \(addresses[last])"
        + " \(first) \(first) \(last)"
    }
    #expect(
      consumed.lines
        == recordLines(0..<4) + [places(0..<4)] + recordLines(4..<7) + [places(4..<7)])
    #expect(try ordinal(directory) == 7)
  }

  @Test(
    "the records of a run are in the format that was asked for",
    arguments: ["lines", "json", "hex", "raw", "length-prefixed"])
  func batchFormat(format: String) throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 9)
    let options = ["--exec-batch", "1000", "--format", format]
    let consumed = try Diskq.run(arguments("cat", directory) + options)
    #expect(consumed.status == 0)
    #expect(
      consumed.output
        == (try Diskq.run("read", directory.at("topic"), "--format", format).output))
    let one = try Diskq.run(
      [
        "consume", directory.at("topic"), "--consumer", "two", "--exec", "cat", "--exec-batch", "1",
        "--format", format,
      ])
    #expect(one.output == consumed.output && consumed.output.count > 70)
  }

  @Test("a run that fails gets the same records again, and the ones before it stay acknowledged")
  func batchRetry() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 6)
    let consumed = try exec(
      "cat; test $DISKQ_ORDINAL -ne 2 || { echo x >>\"$FILE\"; test $(wc -l <\"$FILE\") -ge 3; }",
      directory, "--exec-batch", "2", "--retry-delay", "1ms")
    #expect(consumed.status == 0)
    #expect(
      consumed.lines
        == recordLines(0..<2) + recordLines(2..<4) + recordLines(2..<4) + recordLines(2..<4)
        + recordLines(4..<6))
    #expect(consumed.errorLines.count == 2)
    #expect(try ordinal(directory) == 6)
    _ = try makeTopic(directory, records: 4)
    let failed = try exec(
      "test $DISKQ_ORDINAL -ne 8", directory, "--exec-batch", "2", "--retries", "0")
    #expect(failed.status == 2)
    #expect(failed.errors.contains("the 2 records at addresses "))
    #expect(failed.errors.contains(" are not acknowledged, and come first the next time"))
    #expect(try ordinal(directory) == 8)
  }

  @Test(
    "of a run that always fails, only the records that fail alone are dead letters",
    arguments: [[0], [99], [41], [41, 42], [7, 63, 64, 98], Array(10..<20)])
  func batchDeadLetters(poison: [Int]) throws {
    let directory = try TemporaryDirectory()
    let addresses = try makeTopic(directory, records: 100)
    let pattern = poison.map { "-e '^record \($0)$'" }.joined(separator: " ")
    let consumed = try exec(
      "cat >\"$FILE\"; ! grep -q \(pattern) \"$FILE\" && cat \"$FILE\"", directory, "--exec-batch",
      "64", "--retries", "1", "--retry-delay", "1ms", "--dead-letter")
    #expect(consumed.status == 0)
    #expect(consumed.lines == (0..<100).filter { !poison.contains($0) }.map { "record \($0)" })
    #expect(try ordinal(directory) == 100)
    let letters = try readAll(Topic(directory.at("topic.dead"))).records.map {
      try DeadLetter($0.payload)
    }
    #expect(letters.map(\.ordinal) == poison.map(UInt64.init))
    #expect(letters.map(\.address.rawValue) == poison.map { UInt64(addresses[$0]) })
    #expect(
      letters.allSatisfy {
        $0.reason == "the command failed 2 times, at last with exit status 1"
      })
  }

  // MARK: Several runs at once

  @Test(
    "with --jobs several commands run at once, each with its own records", .timeLimit(.minutes(5)))
  func jobs() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 3)
    #expect(mkfifo(directory.at("file"), 0o600) == 0)
    // The first command ends only after the second one has begun.
    let consumed = try exec(
      """
      case $DISKQ_ORDINAL in
      0) read line <"$FILE"; echo "first after $line";;
      1) echo second >"$FILE";;
      esac
      """, directory, "--jobs", "2")
    #expect(consumed.status == 0 && consumed.errors == "")
    #expect(consumed.lines == ["first after second"])
    #expect(try ordinal(directory) == 3)
  }

  @Test("jobs share the records: each comes once, up to the limit", arguments: [1, 7, 1000])
  func jobsShare(batch: Int) throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 100)
    let options = ["--jobs", "4", "--exec-batch", "\(batch)"]
    let command = "lines=$(cat); echo \"$lines\" >>\"$FILE\""
    let first = try Diskq.run(arguments(command, directory) + options + ["--limit", "60"])
    #expect(first.status == 0 && first.errors == "")
    #expect(try ordinal(directory) == 60)
    #expect(try Diskq.run(arguments(command, directory) + options).status == 0)
    #expect(try ordinal(directory) == 100)
    let taken = String(decoding: try readFile(directory.at("file")), as: UTF8.self)
      .split(separator: "\n").map(String.init)
    #expect(taken.count == 100)
    #expect(Set(taken) == Set(recordLines(0..<100)))
  }

  @Test("if the command fails for one job, all end, and no record is skipped")
  func jobFails() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 40)
    let options = ["--jobs", "4", "--retries", "0"]
    let failed = try Diskq.run(arguments("test $DISKQ_ORDINAL -ne 5", directory) + options)
    #expect(failed.status == 2)
    #expect(failed.errors.contains("the command failed 1 time, at last with exit status 1"))
    #expect(try ordinal(directory) ?? 99 <= 5)
    let rest = try Diskq.run(arguments("echo \"$(cat)\"", directory) + options)
    #expect(rest.status == 0)
    #expect(Set(rest.lines).isSuperset(of: recordLines(5..<40)))
    #expect(try ordinal(directory) == 40)
  }

  @Test("a failing record of each of several jobs becomes one dead letter")
  func jobDeadLetters() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 40)
    let options = ["--jobs", "4", "--exec-batch", "5", "--retries", "0", "--dead-letter"]
    let consumed = try Diskq.run(arguments("! grep -q '[38]$'", directory) + options)
    #expect(consumed.status == 0)
    #expect(try ordinal(directory) == 40)
    let dead = try Diskq.run("read", directory.at("topic.dead"), "--dead-letters")
    #expect(dead.lines.sorted() == (0..<40).filter { $0 % 5 == 3 }.map { "record \($0)" }.sorted())
  }

  @Test("a signal waits for all commands that run", .timeLimit(.minutes(5)))
  func stoppedJobs() throws {
    let directory = try TemporaryDirectory()
    _ = try makeTopic(directory, records: 10)
    for name in ["file0", "file1"] { #expect(mkfifo(directory.at(name), 0o600) == 0) }
    let running = try RunningDiskq(
      arguments("echo started; read line <\"$FILE$DISKQ_ORDINAL\"; echo $line", directory)
        + ["--jobs", "2"])
    for _ in 0..<2 { #expect(try running.readLine() == "started") }
    running.send(SIGTERM)
    // In this order, so that the acknowledgement of the second one waits for the first.
    for name in ["file1", "file0"] {
      #expect(try Diskq.shell("echo ended >\"$1\"", directory.at(name)).status == 0)
    }
    let outcome = try running.outcome()
    #expect(outcome.status == 128 + SIGTERM)
    #expect(outcome.lines == ["ended", "ended"] && outcome.errors == "")
    #expect(try ordinal(directory) == 2)
  }

  #if os(Linux)
    @Test("the command has no signal blocked, no closed pipe ignored, and none of our files")
    func inherited() throws {
      let directory = try TemporaryDirectory()
      _ = try makeTopic(directory, records: 1)
      let consumed = try exec(
        "exec grep -E 'SigBlk|SigIgn' /proc/self/status; ls -l /proc/self/fd", directory)
      let masks = consumed.lines.compactMap { $0.split(separator: "\t").last }
        .compactMap { UInt64($0, radix: 16) }
      #expect(masks.count == 2)
      #expect(masks.first == 0)
      #expect((masks.last ?? .max) & 1 << UInt64(SIGPIPE - 1) == 0)
      #expect(try Diskq.run("append", directory.at("topic"), input: "two\n").status == 0)
      let files = try exec("ls -l /proc/self/fd", directory)
      #expect(!files.text.contains(directory.at("topic")))
      #expect(!files.text.contains("inotify"))
    }
  #endif
}
