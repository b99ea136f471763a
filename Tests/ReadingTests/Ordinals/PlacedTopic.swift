// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// The storage of a topic. A suite checks both with the same code.
enum Place: CaseIterable, Sendable {
  case memory
  case directory
}

/// A topic in memory or in a directory of its own, and the options to write it. Every append is
/// flushed, so readers see it. At a bound, the oldest records are dropped.
struct PlacedTopic: Sendable {
  let topic: Topic
  let place: Place
  let options: QueueWriter.Options
  private let directory: TemporaryDirectory

  /// - Parameter bound: how many records the topic may hold. Nil by default: any number.
  init(
    _ place: Place, bound: UInt64? = nil, slabSize: ByteCount = .kibibytes(64)
  ) throws {
    self.place = place
    directory = try TemporaryDirectory()
    topic =
      switch place {
      case .memory: .memory()
      case .directory: Topic(directory.path + "/topic")
      }
    var options = QueueWriter.Options()
    options.slabSize = slabSize
    options.bufferSize = .kibibytes(4)
    options.flushEvery = .records(1)
    options.maximumRecords = bound
    if bound != nil { options.whenFull = .dropOldest }
    self.options = options
  }

  /// Opens the topic for writing.
  func writer(
    from firstOrdinal: UInt64 = 0, _ change: (inout QueueWriter.Options) -> Void = { _ in }
  ) throws -> QueueWriter {
    var options = options
    options.firstOrdinal = firstOrdinal
    change(&options)
    return try QueueWriter(topic: topic, options: options)
  }

  func reader(from start: Topic.Position = .earliest) throws -> QueueReader {
    try QueueReader(topic: topic, from: start)
  }

  func ordinals() throws -> Range<UInt64> {
    var reader = try reader()
    return try reader.ordinals()
  }

  /// A damaged copy of the topic. The topic is copied into another directory, and `body` damages
  /// the files there. If the topic is in memory, the damaged copy is loaded into memory, too.
  func damaged(_ body: (_ directory: String) throws -> Void) throws -> PlacedTopic {
    let copy = try PlacedTopic(.directory)
    let path = copy.topic.description
    try topic.snapshot(to: path)
    try body(path)
    switch place {
    case .directory: return copy
    case .memory: return PlacedTopic(copy, try Topic.memory(loading: Topic(path)))
    }
  }

  private init(_ copy: PlacedTopic, _ topic: Topic) {
    self.topic = topic
    place = .memory
    options = copy.options
    directory = copy.directory
  }

  /// The payload of the record with this ordinal. No other ordinal has the same payload.
  static func payload(_ ordinal: UInt64) -> [UInt8] { Array("record \(ordinal)".utf8) }

  /// Appends the records of these ordinals, one by one.
  static func append(_ ordinals: Range<UInt64>, to writer: QueueWriter) throws {
    for ordinal in ordinals { try writer.append(payload(ordinal)) }
  }

  /// The ordinals that are left in a topic that may hold `bound` records. The topic began with
  /// `first` and took `count` records from one writer. At the bound, a whole slab goes, which holds
  /// a sixteenth of the bound.
  static func retained(first: UInt64, count: UInt64, bound: UInt64) -> Range<UInt64> {
    let slab = max(1, bound / 16)
    let excess = count > bound ? count - bound : 0
    return first + (excess + slab - 1) / slab * slab..<first + count
  }
}

/// The outcome of asking for a record.
enum Answer: Equatable {
  case record(ordinal: UInt64, payload: [UInt8])
  /// The record was cleaned. The value is the number of cleaned records from it on, if it is known.
  case cleaned(UInt64?)
  case damaged(UInt64?)
  case discarded(UInt64?)
  case end
  case error(QueueError.Code)

  init(_ record: QueueRecord?) {
    self = record.map { .record(ordinal: $0.ordinal, payload: $0.payload) } ?? .end
  }

  init(_ error: QueueError) {
    self =
      switch error.code {
      case .cleaned(let loss): .cleaned(loss.records)
      case .damaged(let loss): .damaged(loss.records)
      case .discarded(let loss): .discarded(loss.records)
      default: .error(error.code)
      }
  }

  /// The record that `PlacedTopic.append` appends for an ordinal.
  static func record(_ ordinal: UInt64) -> Answer {
    .record(ordinal: ordinal, payload: PlacedTopic.payload(ordinal))
  }

  /// The answer of a topic that holds `range` to a question for one ordinal.
  static func expected(_ ordinal: UInt64, of range: Range<UInt64>) -> Answer {
    if ordinal < range.lowerBound { return .cleaned(range.lowerBound - ordinal) }
    return ordinal < range.upperBound ? .record(ordinal) : .error(.beyondLatest)
  }
}

extension QueueReader {
  /// Asks for the record of an ordinal.
  mutating func answer(_ ordinal: UInt64) -> Answer {
    do throws(QueueError) {
      return Answer(try record(ordinal: ordinal).copy())
    } catch {
      return Answer(error)
    }
  }

  /// Asks for the next record.
  mutating func nextAnswer() -> Answer {
    do throws(QueueError) {
      return Answer(try nextCopy())
    } catch {
      return Answer(error)
    }
  }

  /// All answers up to the end of the log.
  mutating func answers() -> [Answer] {
    var answers: [Answer] = []
    while true {
      let answer = nextAnswer()
      if answer == .end { return answers }
      answers.append(answer)
      if case .error = answer, answers.count > 100_000 { return answers }
    }
  }
}
