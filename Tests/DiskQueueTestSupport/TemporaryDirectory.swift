// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A directory that is removed with the last reference to it, and verbs for the files in it.
public final class TemporaryDirectory: Sendable {
  public let path: String

  public init() throws {
    let url = FileManager.default.temporaryDirectory
      .appendingPathComponent("diskqueue-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Every file below a directory, by its relative path.
public func snapshot(_ directory: String) throws -> [String: [UInt8]] {
  var files: [String: [UInt8]] = [:]
  for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
    var isDirectory: ObjCBool = false
    let path = directory + "/" + name
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory),
      !isDirectory.boolValue
    else { continue }
    files[name] = try readFile(path)
  }
  return files
}

/// The slabs of a directory by their base addresses, for the naive reader.
public func slabs(_ directory: String) throws -> [UInt64: [UInt8]] {
  var slabs: [UInt64: [UInt8]] = [:]
  for (name, bytes) in try snapshot(directory) where name.hasSuffix(".slab") && name.count == 25 {
    if let base = UInt64(name.prefix(20)) { slabs[base] = bytes }
  }
  return slabs
}

public func readFile(_ path: String) throws -> [UInt8] {
  Array(try Data(contentsOf: URL(fileURLWithPath: path)))
}

public func writeFile(_ path: String, _ bytes: [UInt8]) throws {
  try FileManager.default.createDirectory(
    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
  try Data(bytes).write(to: URL(fileURLWithPath: path))
}

public func removeFile(_ path: String) throws { try FileManager.default.removeItem(atPath: path) }

public func moveFile(_ source: String, to target: String) throws {
  try FileManager.default.moveItem(atPath: source, toPath: target)
}

public func copyDirectory(_ source: String, to target: String) throws {
  try FileManager.default.copyItem(atPath: source, toPath: target)
}

/// Flips one bit of a file.
public func flipBit(_ path: String, byte: Int, bit: Int = 0) throws {
  var bytes = try readFile(path)
  bytes[byte] ^= 1 << bit
  try writeFile(path, bytes)
}

/// Truncates a file.
public func truncateFile(_ path: String, to count: Int) throws {
  try writeFile(path, Array(try readFile(path).prefix(count)))
}

/// The package's `Fixtures` directory.
public func fixture(_ name: String, from file: StaticString = #filePath) -> String {
  var parts = "\(file)".split(separator: "/", omittingEmptySubsequences: false)
  while let last = parts.popLast(), last != "Tests" {}
  return parts.joined(separator: "/") + "/Fixtures/" + name
}

public func makeLink(_ path: String, to target: String) throws {
  try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
}
