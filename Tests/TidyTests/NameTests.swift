// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("A type's name is used once in a module")
struct NameTests {
  /// Names that several types of a module share, with the reason.
  private static let shared: [String: String] = [
    "AsyncIterator": "a protocol asks for it",
    "Element": "a protocol asks for it",
    "Failure": "a protocol asks for it",
    "Indices": "a protocol asks for it",
    "SubSequence": "a protocol asks for it",
    "Cause": "public and nested: the cause of a loss, and the cause of a removal",
    "State": "private: the state that a lock guards",
    "Offset": "private: the field offsets of one format",
    "Options": "each door has its options",
    "Batch": "each door has its batches",
    "AppendResult": "a writer and a sharded writer return the names of a record",
    "BatchAppendResult": "a writer and a sharded writer return the names of a batch's records",
    "Records": "each door has its sequence of records",
    "Batches": "a consumer of bytes and a consumer of values have a sequence of batches",
    "Message": "a channel of bytes and a channel of values send messages",
    "ChangeReader": "one for each system",
    "ChangeSource": "one for each system",
  ]

  private static let kinds: Set<String> = [
    "struct", "class", "enum", "actor", "protocol", "typealias",
  ]

  /// The name of a type that a line declares.
  private static func declared(_ code: String) -> String? {
    let words = code.split { !$0.isLetter && !$0.isNumber && $0 != "_" && $0 != "." }
    guard let kind = words.firstIndex(where: { kinds.contains(String($0)) }),
      kind + 1 < words.count,
      // `class func` and `class var`, and words of prose in a condition.
      let first = words[kind + 1].first, first.isUppercase
    else { return nil }
    return String(words[kind + 1])
  }

  @Test(
    "in the library, its companions and the program, but for those with a reason",
    arguments: [
      "DiskQueue", "DiskQueueInspection", "DiskQueueFoundation", "DiskQueueLifecycle",
      "DiskQueueLogging", "DiskQueueMetrics", "diskq",
    ])
  func once(_ module: String) throws {
    var places: [String: [String]] = [:]
    for file in Checkout.swiftFiles(below: "Sources/" + module) {
      for line in SwiftText(try Checkout.text(file)).lines {
        guard let name = Self.declared(line.code) else { continue }
        places[name, default: []].append("\(file):\(line.number)")
      }
    }
    #expect(!places.isEmpty)
    for (name, places) in places.sorted(by: { $0.key < $1.key })
    where places.count > 1 && Self.shared[name] == nil {
      Issue.record("\(name): \(places.joined(separator: ", "))")
    }
  }
}
