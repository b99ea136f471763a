// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import Harness

/// A row of the table, with the same work for both contestants.
enum Case: String, CaseIterable, ExpressibleByArgument {
  case append20
  case append20Threads8 = "append20x8"
  case append100
  case append100NoRoll = "append100-noroll"
  case batch20
  case read20
  case readCopy20
  case readBatch20
  case lookup100
  case synced20

  /// The cases that `floor` times. `compare` times the other two.
  static let timed = allCases.filter { $0 != .lookup100 && $0 != .synced20 }

  var title: String {
    switch self {
    case .append20: "append, 20 B"
    case .append20Threads8: "append, 20 B, 8 threads on one writer"
    case .append100: "append, 100 B"
    case .append100NoRoll: "append, 100 B, no slab left behind"
    case .batch20: "append batches of 100, 20 B"
    case .read20: "read, 20 B, next()"
    case .readCopy20: "read, 20 B, nextCopy()"
    case .readBatch20: "read, 20 B, nextBatch()"
    case .lookup100: "record(at:), 100 B"
    case .synced20: "append and sync, 20 B"
    }
  }

  private var payloadBytes: Int {
    switch self {
    case .append100, .append100NoRoll, .lookup100: 100
    default: 20
    }
  }

  private var isReading: Bool {
    switch self {
    case .read20, .readCopy20, .readBatch20, .lookup100: true
    default: false
    }
  }

  /// How many steps are measured for so many records. There are fewer lookups and syncs, because a
  /// lookup walks over hundreds of records, and a sync costs as much as thousands.
  func steps(records: Int) -> Int {
    switch self {
    case .lookup100, .synced20: records / 40
    default: records
    }
  }

  /// The most that DiskQueue may take, as a multiple of the floor. If nil, the ratio is only shown.
  ///
  /// The bounds are above the goals, so that the noise of a machine does not reach them. A path
  /// above its bound has become slower for a reason other than noise.
  var bound: Double? {
    switch self {
    // The floor has the same hash, copy and `write`. DiskQueue adds a lock (one atomic exchange
    // each way), two comparisons and the call. That is less than half of the floor.
    case .append20: 2.0
    // Compared with one thread of the floor. Eight threads on two cores pass a lock and its cache
    // line around. The bound excludes a lock that sleeps in the kernel, at a thousand times the
    // floor.
    case .append20Threads8: 5.0
    // The floor of reading is mostly the hash. A step's result takes the same time again.
    case .read20: 3.0
    default: nil
    }
  }

  /// Writes the records for a case that reads. Each round reads them again.
  func prepare(records: Int, in scratch: Scratch) throws {
    guard isReading else { return }
    try writeFloor(records: records, to: try scratch.fresh("floor"))
    let writer = try QueueWriter(topic: Topic(try scratch.fresh("diskqueue")))
    if self == .lookup100 {
      let payload = payload
      let addresses = try (0..<records).map { _ in try writer.append(payload).address }
      try Lookups(steps(records: records), of: addresses).write(to: lookups(in: scratch))
    } else {
      try Library.append(payload, records: records, to: writer)
    }
    try writer.close()
  }

  /// The seconds that the floor takes.
  func floor(records: Int, in scratch: Scratch) throws -> Double {
    guard isReading else {
      let directory = try scratch.fresh("floor")
      return try seconds { try writeFloor(records: records, to: directory) }
    }
    let directory = scratch.path + "/floor"
    guard self == .lookup100 else {
      return try seconds { try Floor.read(from: directory, expecting: records * payloadBytes) }
    }
    let chosen = try Lookups(from: lookups(in: scratch)).records
    return try seconds {
      try Floor.read(
        chosen, payloadBytes: payloadBytes, stretch: stretchBetweenMarks, from: directory)
    }
  }

  /// The seconds that DiskQueue takes. The time runs from an open writer until the system has every
  /// byte, like the floor's, or from an open reader to the end. Opening and closing are not timed,
  /// because they sync.
  func library(records: Int, in scratch: Scratch) throws -> Double {
    if isReading { return try libraryReading(records: records, in: scratch) }
    let topic = Topic(try scratch.fresh("diskqueue"))
    var options = QueueWriter.Options()
    if self == .append100NoRoll { options.slabSize = .gibibytes(1) }
    let writer = try QueueWriter(topic: topic, options: options)
    let time = try seconds {
      switch self {
      case .append20Threads8:
        try Library.append(payload, records: records, threads: 8, to: writer)
      case .batch20:
        let batch = Array(repeating: payload, count: 100)
        try Library.appendBatches(of: batch, records: records, to: writer)
      case .synced20:
        try Library.appendSynced(payload, records: steps(records: records), to: writer)
      default:
        try Library.append(payload, records: records, to: writer)
      }
    }
    // Do not `close`: the directory is removed next, so its bytes need not reach the disk.
    return time
  }

  private func libraryReading(records: Int, in scratch: Scratch) throws -> Double {
    let lookups = self == .lookup100 ? try Lookups(from: lookups(in: scratch)).addresses : []
    var reader = try QueueReader(topic: Topic(scratch.path + "/diskqueue"))
    var bytes = 0
    let time = try seconds {
      bytes =
        switch self {
        case .readCopy20: try Library.readCopies(&reader)
        case .readBatch20: try Library.readBatches(&reader)
        case .lookup100: try Library.lookUp(lookups, &reader)
        default: try Library.read(&reader)
        }
    }
    guard bytes == steps(records: records) * payloadBytes else {
      throw Failure("DiskQueue read \(bytes) of \(steps(records: records) * payloadBytes) bytes")
    }
    return time
  }

  private var payload: [UInt8] { (0..<payloadBytes).map { UInt8($0) } }

  /// The number of frames that DiskQueue puts between two marks: as many as reach 64 KiB.
  private var stretchBetweenMarks: Int { (64 << 10 + payloadBytes + 7) / (payloadBytes + 8) }

  private func lookups(in scratch: Scratch) -> String { scratch.path + "/lookups" }

  private func writeFloor(records: Int, to directory: String) throws {
    if self == .synced20 {
      _ = try Floor.writeSynced(payload, records: steps(records: records), to: directory)
    } else {
      try Floor.write(payload, records: records, to: directory)
    }
  }
}
