// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Ten readers beside a cleaner and a writer, each in its own process. Every record must be the
/// right one, and each gap must be reported with its exact count.
///
/// Five readers begin again and again. Five follow the topic, two of them slowly. The writer closes
/// and opens again.
struct Crowd: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "crowd")

  @Argument var topic: String
  @Option var seconds: UInt64 = 120
  @Option(help: "Of each kind.") var readers = 5

  func run() throws {
    // Make a topic to read.
    try { () throws(QueueError) in
      let writer = try QueueWriter(topic: Topic(topic), options: CrowdWriter.options)
      try writer.append(Payload.make(0))
      try writer.close()
    }()
    let start = Posix.now()
    let manners =
      [CleaningReader.Manner](repeating: .fromTheEarliest, count: readers)
      + (0..<readers).map { $0 % 2 == 0 ? .following : .slowly }
    let children = try manners.map { manner throws(Broken) in
      (manner, try Child(["cleaner-reader", topic, "--manner", "\(manner)"]))
    }
    let cleaner = try Child(["cleaner-loop", topic])
    let writer = try Child(["crowd-writer", topic, "--seconds", "\(seconds)"])
    let written = try writer.answer(
      within: Int(seconds) * 1_000 + 30_000, "the writer does not come to its end")
    try writer.finish("the writer")

    var lines: [String] = []
    for (manner, reader) in children {
      let line = try reader.answer(
        within: 60_000, "a reader (\(manner)) does not come to the end")
      try reader.finish("a reader (\(manner))")
      lines.append(line)
    }
    cleaner.send("end")
    let line = try cleaner.answer("the cleaner does not come to its end")
    try cleaner.finish("the cleaner")
    Posix.say(
      "\(written); \(lines.joined(separator: "; ")); \(line); \(Figures.cost(since: start))")
  }
}

/// Writes after the first record, in steps. Sometimes closes and opens again.
struct CrowdWriter: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "crowd-writer", shouldDisplay: false)

  static var options: QueueWriter.Options {
    var options = QueueWriter.Options()
    options.slabSize = Cleaning.slabSize
    return options
  }

  @Argument var topic: String
  @Option var seconds: UInt64

  func run() throws {
    let end = Posix.now() + seconds * 1_000_000_000
    var random = SystemRandomNumberGenerator()
    var writer = try QueueWriter(topic: Topic(topic), options: Self.options)
    var number: UInt64 = 1
    var opened = 1
    while Posix.now() < end {
      for _ in 0..<Int.random(in: 1...100, using: &random) {
        try writer.append(Payload.make(number))
        number += 1
      }
      try writer.flush()
      Posix.sleep(microseconds: 5_000)
      if Int.random(in: 0..<100, using: &random) == 0 {
        try writer.close()
        writer = try QueueWriter(topic: Topic(topic), options: Self.options)
        opened += 1
      }
    }
    try writer.append(Payload.makeEnd(number))
    try writer.close()
    Posix.say("writer: \(number + 1) appended, \(opened) times opened")
  }
}
