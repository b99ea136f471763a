// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The names of the library's findings: a word in JSON, which must not change, and a sentence for
// the user.

import DiskQueue
import DiskQueueInspection

extension LogEnding {
  var word: String {
    switch self {
    case .empty: "empty"
    case .closed: "closed"
    case .open: "open"
    case .version1: "version-1"
    }
  }

  /// - Parameter writer: the topic's writer at that time.
  func sentence(writer: LockHolder) -> String {
    switch (self, writer.isAlive) {
    case (.empty, _): "empty"
    case (.closed, _): "closed"
    case (.open, true): "open: a writer has it open"
    case (.open, false):
      "not closed: the last writer ended without closing it, and the next one recovers it"
    case (.open, nil): "not closed: a writer has it open, or ended without closing it"
    case (.version1, _): "written in version 1, which does not mark the end"
    }
  }

  /// The sentence up to its colon or comma, for a part of a line.
  func short(writer: LockHolder) -> String {
    let sentence = sentence(writer: writer)
    return String(sentence.prefix { $0 != ":" && $0 != "," })
  }
}

extension LockHolder {
  /// The holder of a topic's lock, in words.
  var sentence: String {
    switch isAlive {
    case true?:
      guard let process else { return "a process that the lock does not name" }
      return processIsRunning
        ? "process \(process)"
        : "a process of another container, or a child of process \(process), which has ended"
    case false?: return process.map { "none (the last one was process \($0))" } ?? "none"
    case nil: return "unknown: the system does not report the lock to this user"
    }
  }

  /// The holder in a word, for a column.
  var word: String {
    switch isAlive {
    case true?: process.map { processIsRunning ? "\($0)" : "other" } ?? "other"
    case false?: "none"
    case nil: "?"
    }
  }

  var json: JSONValue {
    .object([
      "pid": .number(process.flatMap { UInt64(exactly: $0) }),
      "alive": isAlive.map { .bool($0) } ?? .null,
    ])
  }
}

extension SlabDescription.Condition {
  var word: String {
    switch self {
    case .sound: "sound"
    case .headerDamaged: "header-damaged"
    case .unreadable: "unreadable"
    case .misnamed: "misnamed"
    case .foreign: "foreign"
    case .unsupported: "unsupported"
    }
  }
}

extension SlabDescription {
  /// The remark on the slab, empty for a sound one.
  var remark: String {
    let state: String? =
      switch condition {
      case .sound: version == 1 ? "version 1" : nil
      case .headerDamaged: "header damaged"
      case .unreadable: "no sound header or mark at its beginning"
      case .misnamed(let stated): "renamed or copied: its header states \(stated)"
      case .foreign: "belongs to another topic"
      case .unsupported(let version, let flags):
        "not supported: version \(version), flags \(flags)"
      }
    return [state, isPassedOver ? "passed over" : nil].compactMap(\.self).joined(separator: ", ")
  }
}

extension Tail {
  /// Its range, its size, and the number of sound records in it.
  var sentence: String {
    let place = "\(addresses.lowerBound) up to \(addresses.upperBound)"
    let content =
      if let records {
        "\(Count.text(bytes, "byte")) with \(Count.text(records, "sound record"))"
      } else {
        "\(Count.text(bytes, "byte")) with an unknown number of records"
      }
    return switch cause {
    case .discarded: "\(place): discarded when the topic was recovered, \(content)"
    case .afterEnd: "\(place): after the end of the log, \(content)"
    }
  }
}

/// A topic's path, as the start of other paths.
enum TopicPath {
  /// The path without slashes at its end.
  static func trimmed(_ path: String) -> String {
    var path = path
    while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
    return path
  }
}
