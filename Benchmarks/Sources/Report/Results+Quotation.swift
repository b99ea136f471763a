// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Harness

extension Results {
  /// The text of a quotation.
  ///
  /// - Throws: `QuotationError` if the results have no such figure.
  package func text(of quotation: Quotation) throws -> String {
    guard quotation.path != "run" else { return try fact(quotation.at) }
    let line = try line(of: quotation)
    var figure = try line.figure(quotation.value)
    if let unit = quotation.unit {
      guard quotation.value.hasUnit,
        let converted = Quotation.convert(figure, from: line.unit.rawValue, to: unit)
      else { throw QuotationError("it is not measured in \(unit)") }
      figure = converted
    }
    return quotation.digits.map(figure.text(digits:)) ?? figure.text
  }

  private func fact(_ name: String) throws -> String {
    switch name {
    case "processor": machine.processor
    case "cores": "\(machine.cores)"
    case "memory": "\(machine.memoryGiB)"
    case "kernel": machine.kernel
    case "file system": machine.fileSystem
    case "compiler": machine.compiler
    case "xxhash": machine.xxhash
    case "date": machine.date
    case "minutes": minutes.text(digits: 2)
    default: throw QuotationError("no such fact about the run")
    }
  }

  private func line(of quotation: Quotation) throws -> Line {
    let lines = lines.filter { $0.path == quotation.path && $0.at == quotation.at }
    let fileSystem = quotation.fileSystem ?? machine.fileSystem
    // A line that was measured in one place needs no file system in its key.
    let isNamed = quotation.fileSystem == nil && lines.count == 1
    guard let line = isNamed ? lines[0] : lines.first(where: { $0.fileSystem == fileSystem })
    else { throw QuotationError("no such line in the results") }
    return line
  }
}

extension Line {
  fileprivate func figure(_ value: Quotation.Value) throws -> Double {
    let figure: Double? =
      switch value {
      case .median(let name): median(of: name)
      case .quotient(let one, let other):
        median(of: one).flatMap { one in median(of: other).map { one / $0 } }
      case .also(let name): self[.diskQueue]?.also?[name]
      case .ratio: ratio?.median
      case .timesBestPeer: timesBestPeer?.median
      case .note(let word): number(after: word)
      }
    guard let figure else { throw QuotationError("the line has no such figure") }
    return figure
  }

  private func median(of entry: String) -> Double? {
    entries.first { $0.name == entry }?.figure.median
  }

  private func number(after word: String) -> Double? {
    for note in notes {
      let words = note.split(separator: " ")
      if let index = words.firstIndex(of: Substring(word)), index + 1 < words.count {
        return Double(words[index + 1])
      }
    }
    return nil
  }
}

extension Quotation.Value {
  /// Whether the figure is measured in the unit of its line.
  fileprivate var hasUnit: Bool {
    switch self {
    case .median, .note: true
    case .quotient, .also, .ratio, .timesBestPeer: false
    }
  }
}
