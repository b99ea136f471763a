// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The machine on which the figures were measured. It contains neither the machine's name nor the
/// user's.
package struct Machine: Codable {
  package var processor: String
  package var cores: Int
  package var memoryGiB: Int
  package var kernel: String
  package var fileSystem: String
  package var compiler: String
  package var xxhash: String
  /// The day of the run, in UTC.
  package var date: String

  /// - Parameters:
  ///   - directory: the directory to which the benchmark writes.
  ///   - compiler: the compiler's own name and version, if the caller knows them more exactly than
  ///     this program.
  package init(directory: String, compiler: String? = nil) {
    processor = Self.processorName
    cores = ProcessInfo.processInfo.activeProcessorCount
    let gibibyte = 1 << 30
    memoryGiB = Int(
      (ProcessInfo.processInfo.physicalMemory + UInt64(gibibyte / 2)) / UInt64(gibibyte))
    var name = utsname()
    uname(&name)
    kernel = withUnsafeBytes(of: name.release) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    fileSystem = Self.fileSystem(of: directory)
    self.compiler = compiler ?? Self.swiftVersion
    xxhash = Floor.hashVersion
    date = Date.now.ISO8601Format(.iso8601Date(timeZone: .gmt))
  }

  package static func description(directory: String) -> String {
    Machine(directory: directory).sentence
  }

  /// The description in one line.
  package var sentence: String {
    "\(processor), \(cores) cores, \(memoryGiB) GiB of memory, kernel \(kernel), \(fileSystem),"
      + " \(compiler), libxxhash \(xxhash)"
  }

  private static var processorName: String {
    let unknown = "unknown processor"
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else {
      return unknown
    }
    for line in text.split(separator: "\n") where line.hasPrefix("model name") {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { return parts[1].trimmingCharacters(in: .whitespaces) }
    }
    return unknown
  }

  /// The kind of the file system, by the longest mount point that the path begins with.
  package static func fileSystem(of path: String) -> String {
    let path = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    guard let mounts = try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8) else {
      return "unknown file system"
    }
    var best = (length: -1, kind: "unknown file system")
    for line in mounts.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count > 2 else { continue }
      let point = fields[1]
      let isAbove = path == point || path.hasPrefix(point.hasSuffix("/") ? point : point + "/")
      if isAbove, point.utf8.count >= best.length { best = (point.utf8.count, String(fields[2])) }
    }
    return best.kind
  }

  /// The compiler that built this program, as far as conditional compilation shows it.
  private static var swiftVersion: String {
    #if compiler(>=6.4)
      "Swift 6.4 or later"
    #elseif compiler(>=6.3)
      "Swift 6.3"
    #else
      "Swift 6.2"
    #endif
  }
}
