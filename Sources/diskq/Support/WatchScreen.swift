// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// A watched topic as the lines of a terminal.
enum WatchScreen {
  struct ScreenSize: Sendable, Hashable {
    var columns: Int
    var rows: Int
  }

  /// The lines of the screen. There are at most as many as rows, and none is longer than the
  /// columns. If there are too few rows, the facts that change least are left out before the
  /// consumers.
  ///
  /// - Parameter notice: the message in the last line.
  static func lines(
    _ trend: TopicTrend, topic: String, notice: String, size: ScreenSize
  ) -> [String] {
    let facts = facts(trend)
    let consumers = trend.consumers
    // The heading, the notice, and two empty lines around a table and its heading.
    let needed = 2 + facts.count + (consumers.isEmpty ? 1 : consumers.count + 3)
    let isShort = needed > size.rows
    let head =
      [heading(topic, trend, size.columns)]
      + facts.filter { !isShort || $0.isKept }.map { Layout.left($0.label, 9) + $0.text }
    let foot = (isShort ? [] : [""]) + [Messages.onOneLine(notice)]
    let table = table(consumers, size.columns, size.rows - head.count - foot.count)
    return (head + table + foot).prefix(max(0, size.rows))
      .map { String($0.prefix(max(0, size.columns))) }
  }

  /// The topic, and the time if it fits too.
  private static func heading(_ topic: String, _ trend: TopicTrend, _ columns: Int) -> String {
    let topic = Messages.onOneLine(topic)
    let time = Timestamp.toTheSecond(trend.look.wallTime)
    let gap = columns - topic.count - time.count
    return gap < 2 ? topic : topic + String(repeating: " ", count: gap) + time
  }

  private struct Fact {
    var label: String
    var text: String
    /// Whether to show it even if there are few rows.
    var isKept = false
  }

  private static func facts(_ trend: TopicTrend) -> [Fact] {
    let look = trend.look
    let unknown = "unknown"
    var slabs = "\(look.slabs.count), \(HumanSize.text(look.bytes))"
    if trend.slabsRemoved > 0 {
      slabs += ", \(trend.slabsRemoved) removed since \(Timestamp.toTheSecond(trend.began))"
    }
    var disk = "\(HumanSize.text(look.room)) left"
    if let seconds = trend.diskIsFullIn { disk += ", full in \(HumanTime.text(seconds))" }
    return [
      Fact(label: "state", text: look.ending.sentence(writer: look.writer)),
      Fact(label: "writer", text: look.writer.sentence),
      Fact(label: "records", text: look.records.map(Figures.grouped) ?? unknown, isKept: true),
      Fact(label: "slabs", text: slabs, isKept: true),
      Fact(label: "first", text: look.first.map(\.description) ?? "none"),
      Fact(label: "next", text: look.next.description),
      Fact(
        label: "newest", text: trend.newestAge.map { "\(HumanTime.text($0)) ago" } ?? unknown),
      Fact(label: "appended", text: appended(trend, \.now) + " now", isKept: true),
      Fact(
        label: "", text: appended(trend, \.smooth) + " over \(TimeSpan.text(TopicTrend.window))",
        isKept: true),
      Fact(label: "disk", text: disk, isKept: true),
    ]
  }

  private static func appended(_ trend: TopicTrend, _ rate: (Rates) -> Double) -> String {
    "\(RateText.count(trend.recordRates.map(rate))) records/s,"
      + " \(RateText.bytes(trend.byteRates.map(rate)))"
  }

  /// A table of at most `rows` lines, with an empty line before it.
  private static func table(
    _ consumers: [TopicTrend.ConsumerTrend], _ columns: Int, _ rows: Int
  ) -> [String] {
    guard !consumers.isEmpty, rows >= 3 else { return [] }
    // The width that the other columns leave, but no less than the heading needs.
    let longest = consumers.map(\.look.name.count).max() ?? 0
    let width = max(8, min(longest, columns - 51))
    func row(
      _ name: String, _ left: String, _ rate: String, _ holder: String, _ outlook: String
    ) -> String {
      "\(Layout.left(String(name.prefix(width)), width)) \(Layout.right(left, 12))"
        + " \(Layout.right(rate, 10)) \(Layout.right(holder, 8))  \(outlook)"
    }
    var lines = ["", row("consumer", "records left", "records/s", "holder", "caught up")]
    let fitting = lines.count + consumers.count <= rows ? consumers.count : rows - lines.count - 1
    for consumer in consumers.prefix(fitting) {
      let outlook =
        consumer.look.remark.isEmpty ? consumer.outlook.short : consumer.look.remark
      lines.append(
        row(
          consumer.look.name, consumer.look.records.map(Figures.grouped) ?? "?",
          RateText.count(consumer.rates?.smooth), consumer.look.holder.word, outlook))
    }
    if fitting < consumers.count {
      lines.append("and \(Count.text(UInt64(consumers.count - fitting), "more consumer"))")
    }
    return lines
  }
}

/// Rates in a readable form.
enum RateText {
  static func count(_ rate: Double?) -> String {
    guard let rate else { return "?" }
    return rate == 0 ? "0" : Figures.threeDigits(rate)
  }

  static func bytes(_ rate: Double?) -> String {
    guard let rate else { return "? B/s" }
    return HumanSize.text(UInt64(max(0, min(rate, 1e18)))) + "/s"
  }
}

extension Outlook {
  /// The text for a column with the heading "caught up".
  var short: String {
    switch self {
    case .unknown: "?"
    case .caughtUp: "yes"
    case .caughtUpIn(let seconds): "in \(HumanTime.text(seconds))"
    case .keepsPace: "no: keeps pace"
    case .standsStill: "no: stands still"
    case .fallsBehind: "no: falls behind"
    }
  }

  /// The word in JSON, which must not change.
  var word: String {
    switch self {
    case .unknown: "unknown"
    case .caughtUp: "caught-up"
    case .caughtUpIn: "catching-up"
    case .keepsPace: "keeps-pace"
    case .standsStill: "stands-still"
    case .fallsBehind: "falls-behind"
    }
  }

  var seconds: Double? {
    switch self {
    case .caughtUp: 0
    case .caughtUpIn(let seconds): seconds
    default: nil
    }
  }
}
