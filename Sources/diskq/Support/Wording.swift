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

  var sentence: String {
    switch self {
    case .empty: "empty"
    case .closed: "closed"
    case .open: "not closed: a writer has it open, or ended without closing it"
    case .version1: "written in version 1, which does not mark the end"
    }
  }

  /// The sentence up to its colon or comma, for a part of a line.
  var short: String {
    switch self {
    case .empty: "empty"
    case .closed: "closed"
    case .open: "not closed"
    case .version1: "written in version 1"
    }
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
