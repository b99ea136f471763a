// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// What the findings of the library are called: a word in JSON, which stays as it is, and a sentence
// for people.

import DiskQueue

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
    case .version1: "written in version 1, which marks no end"
    }
  }

  /// The sentence as far as its colon or comma, for a line among others.
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
  /// What is to be said of the slab; nothing of a sound one.
  var remark: String {
    let state: String? =
      switch condition {
      case .sound: version == 1 ? "version 1" : nil
      case .headerDamaged: "header damaged"
      case .unreadable: "no sound header or mark at its beginning"
      case .misnamed(let stated): "renamed or copied: its header states \(stated)"
      case .foreign: "another topic's"
      case .unsupported(let version, let flags):
        "not supported: version \(version), flags \(flags)"
      }
    return [state, isPassedOver ? "passed over" : nil].compactMap(\.self).joined(separator: ", ")
  }
}

extension Tail {
  /// Where it is, how much it is, and what was left of records in it.
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
    case .behindEnd: "\(place): behind the end of the log, \(content)"
    }
  }
}

/// A topic's path, as a part of others.
enum TopicPath {
  /// Without slashes at its end.
  static func trimmed(_ path: String) -> String {
    var path = path
    while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
    return path
  }
}
