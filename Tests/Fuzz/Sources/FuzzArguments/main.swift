// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FuzzSupport

@testable import DiskQueue
@testable import diskq

// Fuzzes how the command line is parsed. The input is arguments with zero bytes between them.
runFuzzer { bytes, count in
  var input = Input(bytes, count)
  let words = input.takeRest().split(separator: 0, maxSplits: 64, omittingEmptySubsequences: false)
    .map { String(decoding: $0, as: UTF8.self) }
  parse(words)
  for word in words.prefix(8) { parseValues(word) }
  return 0
}

/// Refused arguments count as wrong usage (64), and there is a message.
func parse(_ words: [String]) {
  do {
    _ = try Diskq.parseAsRoot(words)
  } catch {
    let code = Diskq.exitCode(for: error).rawValue
    require(code == 64 || code == 0, "parsing ends with \(code)")
    require(!Diskq.fullMessage(for: error).isEmpty, "parsing ends without a word")
  }
}

/// For each kind of value: its printed form can be read again, and means the same.
func parseValues(_ word: String) {
  if let size = Size(argument: word) {
    require(
      Size(argument: size.count.description)?.count == size.count,
      "\(word) is written as \(size.count)")
    _ = HumanSize.text(UInt64(clamping: size.count.bytes))
  }
  if let time = TimeSpan(argument: word) {
    let text = TimeSpan.text(time.duration)
    require(TimeSpan(argument: text)?.duration == time.duration, "\(word) is written as \(text)")
  }
  if let threshold = Threshold(argument: word) {
    require(
      Threshold(argument: threshold.text) == threshold,
      "\(word) is written as \(threshold.text)")
  }
  if let time = Timestamp.parse(word) {
    let (seconds, attoseconds) = time.components
    if seconds >= 0, let whole = UInt64(exactly: seconds), whole < 18_446_744_072 {
      let nanoseconds = whole * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
      require(
        Timestamp.parse(Timestamp.text(nanoseconds)) == time,
        "\(word) is written as \(Timestamp.text(nanoseconds))")
    }
  }
  if let start = Start(argument: word) {
    do throws(QueueError) {
      // The topic is empty, but the reader calculates with the position.
      _ = try QueueReader(topic: .memory(), from: start.position) { _ in }
    } catch {
      require(!error.description.isEmpty, "an error says nothing")
    }
  }
  _ = CursorName.parse(word)
  _ = SlabName.parse(word)
}
