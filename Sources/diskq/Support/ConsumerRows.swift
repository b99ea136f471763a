// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection

/// Consumers as a table, or as JSON.
enum ConsumerRows {
  static func table(_ consumers: [ConsumerInfo]) -> String {
    let width = max(8, consumers.map { $0.consumer.name.utf8.count }.max() ?? 0)
    var text =
      "\(padded("consumer", width)) \(aligned("position", 20)) \(aligned("ordinal", 12))"
      + " \(aligned("records left", 13)) \(aligned("bytes left", 12))"
      + " \(aligned("holder", 8))\n"
    for info in consumers {
      var row =
        "\(padded(info.consumer.name, width)) \(aligned(info.consumer.position, 20))"
        + " \(aligned(info.consumer.ordinal, 12)) \(aligned(info.records, 13))"
        + " \(aligned(info.bytes, 12)) \(aligned(info.holder.word, 8))"
      if !info.consumer.state.remark.isEmpty { row += "  \(info.consumer.state.remark)" }
      text += row + "\n"
    }
    return text
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.utf8.count))
  }

  private static func aligned(_ value: (some CustomStringConvertible)?, _ width: Int) -> String {
    let text = value?.description ?? "?"
    return String(repeating: " ", count: max(0, width - text.utf8.count)) + text
  }

  static func object(_ info: ConsumerInfo) -> JSONValue {
    .object([
      "name": .text(info.consumer.name),
      "state": .text(info.consumer.state.word),
      "position": .place(info.consumer.position),
      "ordinal": .place(info.consumer.ordinal),
      "recordsLeft": .number(info.records),
      "bytesLeft": .number(info.bytes),
      "holder": info.holder.json,
    ])
  }
}

extension QueueConsumer.Description.State {
  var word: String {
    switch self {
    case .sound: "sound"
    case .neverWritten: "never-written"
    case .damaged: "damaged"
    case .unsupported: "unsupported"
    }
  }

  /// The remark for the table, empty for a sound consumer.
  var remark: String {
    switch self {
    case .sound: ""
    case .neverWritten: "never written: its next holder begins anew"
    case .damaged: "damaged: reset it to a position, or delete it"
    case .unsupported: "a newer version wrote it"
    }
  }
}
