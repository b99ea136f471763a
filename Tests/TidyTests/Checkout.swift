// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The files of this checkout, by their paths from its top level.
enum Checkout {
  static let root: String = {
    var path = URL(fileURLWithPath: #filePath)
    for _ in 0..<3 { path.deleteLastPathComponent() }
    return path.path
  }()

  /// Directories of built or generated files.
  private static let skipped: Set<String> = [".git", ".build", ".swiftpm", "results"]

  static let files: [String] = {
    var files: [String] = []
    func visit(_ directory: String = "") {
      let path = directory.isEmpty ? root : root + "/" + directory
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
      for name in names.sorted() where !skipped.contains(name) && !name.hasPrefix(".build") {
        let file = directory.isEmpty ? name : directory + "/" + name
        // A link is left out: the walk visits its files at their own paths.
        let attributes = try? FileManager.default.attributesOfItem(atPath: root + "/" + file)
        switch attributes?[.type] as? FileAttributeType {
        case .typeDirectory: visit(file)
        case .typeRegular: files.append(file)
        default: break
        }
      }
    }
    visit()
    return files
  }()

  /// Articles, papers and the README.
  static let pages = files.filter { $0.hasSuffix(".md") }

  static func swiftFiles(below directory: String) -> [String] {
    files.filter { $0.hasPrefix(directory + "/") && $0.hasSuffix(".swift") }
  }

  static func text(_ file: String) throws -> String {
    try String(contentsOfFile: root + "/" + file, encoding: .utf8)
  }

  /// The part of a path after a directory: `Writing/LogTail.swift` becomes `LogTail.swift`.
  static func name(_ file: String) -> String {
    String(file[(file.lastIndex(of: "/").map { file.index(after: $0) } ?? file.startIndex)...])
  }
}
