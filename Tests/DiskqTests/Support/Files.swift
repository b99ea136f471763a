// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation

/// The files that the tests read.
enum Fixture {
  static let temperatures = fixture("seattle-temps.csv")
  static let version1Topic = fixture("queuefka-seattle")

  /// The readings, without the header line.
  static func readings() throws -> [String] {
    let text = try String(contentsOfFile: temperatures, encoding: .utf8)
    return text.split(separator: "\n").dropFirst().map(String.init)
  }
}

extension TemporaryDirectory {
  /// A path in the directory.
  func at(_ name: String) -> String { "\(path)/\(name)" }
}

/// The slabs of a topic, in order.
func slabPaths(_ topic: String) throws -> [String] {
  try slabs(topic).keys.sorted().map { topic + "/" + SlabName.string($0) }
}

/// Makes a topic of numbered lines, and returns the addresses of its records.
@discardableResult
func makeTopic(_ path: String, records: Int, options: [String] = []) throws -> [Int] {
  let lines = (0..<records).map { "record \($0)\n" }.joined()
  let outcome = try Diskq.run(
    ["append", path, "--print-addresses"] + options, input: Array(lines.utf8))
  return outcome.lines.compactMap { Int($0) }
}

/// One line of JSON.
func object(_ line: String) throws -> [String: Any] {
  let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
  return value as? [String: Any] ?? [:]
}

/// Lines `record 0`, `record 1` …, as `makeTopic` makes them.
func recordLines(_ numbers: Range<Int>) -> [String] { numbers.map { "record \($0)" } }

/// A consumer of a topic, as `diskq consumers --json` describes it.
func consumer(_ name: String, of topic: String) throws -> [String: Any] {
  for line in try Diskq.run("consumers", topic, "--json").lines {
    let described = try object(line)
    if described["name"] as? String == name { return described }
  }
  return [:]
}

/// Makes a consumer's cursor unreadable.
func damageCursor(_ name: String, of topic: String) throws {
  let path = "\(topic)/consumers/\(name).cursor"
  try writeFile(path, try readFile(path).map { _ in 0xA5 })
}
