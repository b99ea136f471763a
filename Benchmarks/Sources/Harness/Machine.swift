// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the figures were taken on.
package enum Machine {
  package static func description(directory: String) -> String {
    var name = utsname()
    uname(&name)
    let kernel = withUnsafeBytes(of: name.release) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return "\(ProcessInfo.processInfo.activeProcessorCount) cores, kernel \(kernel),"
      + " \(fileSystem(of: directory)), \(swiftVersion)"
  }

  /// The kind of the file system, by the longest mount point that the path begins with.
  private static func fileSystem(of path: String) -> String {
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

  /// The compiler that built this, as far as a program can tell.
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
