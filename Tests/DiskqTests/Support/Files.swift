// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation

/// The files that tests are about.
enum Fixture {
  private static let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Fixtures").path

  static let temperatures = folder + "/seattle-temps.csv"
  static let version1Topic = folder + "/queuefka-seattle"

  /// The readings, without the header line.
  static func readings() throws -> [String] {
    let text = try String(contentsOfFile: temperatures, encoding: .utf8)
    return text.split(separator: "\n").dropFirst().map(String.init)
  }
}

extension TemporaryDirectory {
  /// A path in it.
  func at(_ name: String) -> String { "\(path)/\(name)" }
}

/// Every file of a directory, and what it holds.
func contents(of directory: String) throws -> [String: Data] {
  var files: [String: Data] = [:]
  for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
    files[name] = try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name))
  }
  return files
}

/// The slabs of a topic, in order.
func slabs(of topic: String) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: topic)
    .filter { $0.hasSuffix(".slab") }.sorted().map { "\(topic)/\($0)" }
}

/// Flips the lowest bit of one byte.
func flipBit(in path: String, at offset: Int) throws {
  var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
  bytes[offset] ^= 1
  try bytes.write(to: URL(fileURLWithPath: path))
}

func size(of path: String) throws -> Int {
  try Data(contentsOf: URL(fileURLWithPath: path)).count
}

/// Cuts a file to a size.
func truncate(_ path: String, to size: Int) throws {
  let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
  try handle.truncate(atOffset: UInt64(size))
  try handle.close()
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
