// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Harness
import Report

/// The results as a picture: bars on a logarithmic scale, with the best on top.
struct Chart {
  private let results: Results

  /// The file system of the picture: the first that was measured, which is on the disk.
  private let fileSystem: String

  init?(_ results: Results) {
    guard let fileSystem = results.lines.first?.fileSystem else { return nil }
    self.results = results
    self.fileSystem = fileSystem
    guard !rows.isEmpty else { return nil }
  }

  // MARK: Content

  private struct Panel {
    var title: String
    var line: Line
  }

  /// Rows of panels. The panels of a row are side by side, on one scale.
  private var rows: [[Panel]] {
    let append = "append, one thread"
    let read = "read in order, verified, without copy"
    return [
      [("Append, 20 B", append, "20 B"), ("Append, 100 B", append, "100 B")],
      [("Read in order, 20 B", read, "20 B"), ("Read in order, 100 B", read, "100 B")],
      [("Synced appends, 64 at once, 100 B", "synced appends, 64 at once", "100 B")],
    ].map { row in
      row.compactMap { title, path, at in
        results.lines.first { $0.path == path && $0.at == at && $0.fileSystem == fileSystem }
          .map { Panel(title: title, line: $0) }
      }
    }.filter { !$0.isEmpty }
  }

  // MARK: Measures, in pixels

  private let width = 880.0
  private let margin = 24.0
  private let gap = 36.0
  private let barHeight = 16.0
  private let barStep = 23.0
  private let names = 84.0
  private let values = 62.0
  private let headingHeight = 64.0

  private func bars(_ panel: Panel) -> [Entry] {
    let entries = panel.line.entries.filter { $0.role != .variant }
    return entries.sorted {
      panel.line.unit.isRate
        ? $0.figure.median > $1.figure.median : $0.figure.median < $1.figure.median
    }
  }

  private func height(_ row: [Panel]) -> Double {
    48 + Double(row.map { bars($0).count }.max() ?? 0) * barStep + 26
  }

  var svg: String {
    var y = headingHeight
    var body = ""
    for row in rows {
      let scale = Scale(row.flatMap { bars($0).map(\.figure.median) })
      let columns = Double(row.count)
      let panelWidth = (width - 2 * margin - gap * (columns - 1)) / columns
      for (index, panel) in row.enumerated() {
        let x = margin + Double(index) * (panelWidth + gap)
        body += draw(panel, scale, x: x, y: y, width: panelWidth)
      }
      y += height(row)
    }
    let footer = y + 8
    return """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(number(width))" \
      height="\(number(footer + 26))" viewBox="0 0 \(number(width)) \(number(footer + 26))" \
      role="img" aria-labelledby="title">
      <title id="title">DiskQueue beside the floor and its peers</title>
      <style>
        text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; \
      fill: #1f2328; }
        .back { fill: #f6f8fa; }
        .heading { font-size: 18px; font-weight: 600; }
        .panel { font-size: 14px; font-weight: 600; }
        .name, .value { font-size: 12px; }
        .name { text-anchor: end; }
        .small { font-size: 11px; font-weight: 400; fill: #59636e; }
        .tick { text-anchor: middle; }
        .own { font-weight: 700; }
        .grid { stroke: #d1d9e0; stroke-width: 1; }
        .bar-diskQueue { fill: #1f6feb; }
        .bar-reference { fill: #6e7781; }
        .bar-peer { fill: #b6bec8; }
        @media (prefers-color-scheme: dark) {
          text { fill: #e6edf3; }
          .back { fill: #161b22; }
          .small { fill: #9198a1; }
          .grid { stroke: #30363d; }
          .bar-diskQueue { fill: #4493f8; }
          .bar-reference { fill: #9198a1; }
          .bar-peer { fill: #4b535d; }
        }
      </style>
      <rect class="back" width="100%" height="100%" rx="8"/>
      <text class="heading" x="\(number(margin))" y="34">\
      DiskQueue beside the floor and its peers</text>
      <text class="small" x="\(number(margin))" y="53">\
      Medians on logarithmic scales. The floor is C code that does the least any queue must do. \
      write(2) and stdio write no checksum.</text>
      \(body)<text class="small" x="\(number(margin))" y="\(number(footer + 8))">\
      \(escaped(caption))</text>
      </svg>

      """
  }

  private var caption: String {
    let machine = results.machine
    return "\(machine.processor), \(machine.cores) cores, \(machine.fileSystem), kernel"
      + " \(machine.kernel), \(machine.compiler), \(machine.date)"
  }

  private func draw(
    _ panel: Panel, _ scale: Scale, x: Double, y: Double, width: Double
  ) -> String {
    let bars = bars(panel)
    let better =
      panel.line.unit.isRate ? "records a second, more is better" : "ns a record, less is better"
    let left = x + names + 8
    let room = width - names - 8 - values
    let top = y + 36
    let bottom = top + Double(bars.count) * barStep
    var text = """
      <text class="panel" x="\(number(x))" y="\(number(y + 18))">\(escaped(panel.title))\
      <tspan class="small" dx="8">\(better)\
      </tspan></text>

      """
    for tick in scale.ticks {
      let position = number(left + scale.fraction(tick) * room)
      text += """
        <line class="grid" x1="\(position)" y1="\(number(top - 4))" x2="\(position)" \
        y2="\(number(bottom))"/>
        <text class="small tick" x="\(position)" y="\(number(bottom + 14))">\(short(tick))</text>

        """
    }
    for (index, entry) in bars.enumerated() {
      let bar = top + Double(index) * barStep
      let length = max(2, scale.fraction(entry.figure.median) * room)
      let own = entry.role == .diskQueue ? " own" : ""
      let baseline = number(bar + barHeight - 4)
      text += """
        <text class="name\(own)" x="\(number(left - 8))" y="\(baseline)">\
        \(escaped(entry.name))</text>
        <rect class="bar-\(entry.role.rawValue)" x="\(number(left))" y="\(number(bar))" \
        width="\(number(length))" height="\(number(barHeight))" rx="2"/>
        <text class="value\(own)" x="\(number(left + length + 6))" y="\(baseline)">\
        \(short(entry.figure.median))</text>

        """
    }
    return text
  }

  /// Whole decades around some figures.
  private struct Scale {
    private let low: Double
    private let high: Double

    init(_ figures: [Double]) {
      low = floor(log10(max(figures.min() ?? 1, 1e-9)) - 0.2)
      high = max(ceil(log10(max(figures.max() ?? 1, 1e-9))), low + 1)
    }

    func fraction(_ figure: Double) -> Double { (log10(figure) - low) / (high - low) }

    var ticks: [Double] { stride(from: low, through: high, by: 1).map { pow(10, $0) } }
  }

  // MARK: Text

  private func number(_ number: Double) -> String {
    number == number.rounded() ? String(Int(number)) : String(format: "%.1f", number)
  }

  /// "12.3", "870", "4.5k", "1.2M"
  private func short(_ figure: Double) -> String {
    let (scaled, suffix) =
      figure >= 1e6 ? (figure / 1e6, "M") : figure >= 1e3 ? (figure / 1e3, "k") : (figure, "")
    let text = String(format: scaled < 100 ? "%.1f" : "%.0f", scaled)
    return (text.hasSuffix(".0") ? String(text.dropLast(2)) : text) + suffix
  }

  private func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
  }
}
