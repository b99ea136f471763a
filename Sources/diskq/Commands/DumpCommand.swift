// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct DumpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump",
    abstract: "Prints the header, frames and marks of a slab, or of all slabs of a topic.",
    discussion: """
      dump shows bytes that make no sound frame as such, and cannot know whether they are damage \
      or a torn tail. verify knows, because it reads the whole topic. The output is for people, \
      and may change.
      """
        + Examples.section([
          "Print everything in a topic, slab after slab.":
            "diskq dump queue | less",
          "Print one slab.":
            "diskq dump queue/00000000000000000000.slab",
          "Print the points at which records became durable.":
            "diskq dump queue | grep mark",
        ]))

  @Argument(
    help: ArgumentHelp(
      "The topic's directory, or the file of a slab, whose name gives its base.",
      valueName: "topic-or-slab"), completion: .file())
  var path: String

  func run() throws {
    var output = Output()
    for slab in try slabs() where output.isOpen { try dump(slab, to: &output) }
    try output.finish()
  }

  private var isNamedAsSlab: Bool {
    path.split(separator: "/").last.map { SlabName.parse(String($0)) != nil } ?? false
  }

  /// The paths of the slabs. Of a topic, a slab that is removed meanwhile is left out.
  private func slabs() throws -> [String] {
    switch System.kind(path) {
    case .nothing where !isNamedAsSlab:
      throw Failure("there is no topic and no slab at this path: check it", path: path)
    case .nothing, .other: return [path]
    case .directory: break
    }
    var slabs: [String] = []
    for topic in try Shards.topics(at: path) {
      slabs += try SlabDescription.all(of: Topic(topic)).map {
        "\(TopicPath.trimmed(topic))/\(SlabName.string($0.base.rawValue))"
      }
    }
    return slabs
  }

  private func dump(_ slab: String, to output: inout Output) throws {
    var dump: SlabDump
    do throws(QueueError) {
      dump = try SlabDump(path: slab)
    } catch {
      // A cleaner has removed it.
      guard slab != path, error.code == .noSuchTopic else { throw error }
      return
    }
    output.put(heading(dump.slab, topicID: dump.topicID))
    do throws(QueueError) {
      while output.isOpen, let frame = try dump.next() { output.put(line(frame)) }
    } catch {
      // Print the frames before the error.
      try output.finish()
      throw error
    }
  }

  private func heading(_ file: SlabDescription, topicID: TopicID?) -> String {
    let version = file.version.map { "version \($0)" } ?? "unknown version"
    var text = "slab \(SlabName.string(file.base.rawValue)): \(version)"
    text += ", \(Count.text(file.bytes, "byte"))"
    if let topicID { text += ", topic \(topicID)" }
    if !file.remark.isEmpty, file.version != 1 { text += "; \(file.remark)" }
    return text + "\n"
  }

  private func line(_ part: SlabDump.Part) -> String {
    switch part {
    case .header(let header):
      line(
        header.base, "header",
        "\(text(header.statement)), largest payload \(header.largestPayload)")
    case .mark(let mark):
      line(
        mark.address, "mark",
        text(mark.statement) + (mark.closesTopic ? ", closes the topic" : ""))
    case .record(let record):
      line(
        record.address, "record",
        "\(record.ordinal.map { "ordinal \($0), " } ?? "")"
          + "\(Count.text(record.payloadBytes, "byte"))\(beginning(of: record))")
    case .neither(let addresses):
      line(
        addresses.lowerBound, "-",
        "\(Count.text(addresses.upperBound.rawValue - addresses.lowerBound.rawValue, "byte"))"
          + " that make no sound frame")
    case .preallocated(let addresses):
      line(
        addresses.lowerBound, "-",
        "\(Count.text(addresses.upperBound.rawValue - addresses.lowerBound.rawValue, "zero byte")),"
          + " room for the next writes")
    }
  }

  private func text(_ statement: SlabDump.Statement) -> String {
    "ordinal \(statement.ordinal), made \(Timestamp.text(statement.stamp)),"
      + " synced \(statement.synced), kept \(statement.kept)"
  }

  private func line(_ address: Address, _ kind: String, _ text: String) -> String {
    let digits = "\(address)"
    return String(repeating: " ", count: max(0, 20 - digits.utf8.count)) + digits
      + "  " + kind + String(repeating: " ", count: max(0, 8 - kind.utf8.count)) + text + "\n"
  }

  /// The first bytes: as text if they are UTF-8, and in hexadecimal digits if not.
  private func beginning(of record: SlabDump.Record) -> String {
    guard !record.beginning.isEmpty else { return "" }
    let isCut = UInt64(record.beginning.count) < record.payloadBytes
    var bytes = record.beginning[...]
    // A character may be cut in two at the end.
    for _ in 0..<4 {
      if let text = String(validating: bytes, as: UTF8.self) {
        return ": \"\(Messages.onOneLine(text))\"\(isCut ? "…" : "")"
      }
      guard isCut, !bytes.isEmpty else { break }
      bytes.removeLast()
    }
    let hex = record.beginning.map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
    return ": \(hex)\(isCut ? "…" : "")"
  }
}
