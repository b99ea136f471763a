// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A measured row, in the order of the table.
enum BenchRow: String, CaseIterable {
  case rawBufferedWrite = "raw-buffered-write"
  case append
  case appendBatches = "append-batches"
  case rawWrite = "raw-write"
  case rawRead = "raw-read"
  case read
  case rawSync = "raw-write-fdatasync"
  case appendSync = "append-sync"
  case appendSyncedByTasks = "append-synced-tasks"
  case appendSyncEvery = "append-sync-every"

  /// A group of rows. Each row is compared with the first row of its part.
  enum Part: CaseIterable {
    case writing
    case reading
    case syncing
  }

  /// How many records a batch has.
  static let batch = 100
  /// How many tasks append and wait at once.
  static let tasks = 64
  /// The records and the milliseconds of `syncEvery`.
  static let syncEveryRecords: UInt64 = 1_000
  static let syncEveryMilliseconds: Int64 = 100

  var part: Part {
    switch self {
    case .rawBufferedWrite, .append, .appendBatches, .rawWrite: .writing
    case .rawRead, .read: .reading
    case .rawSync, .appendSync, .appendSyncedByTasks, .appendSyncEvery: .syncing
    }
  }

  /// The row that this one is compared with, or nil for that row itself.
  var reference: BenchRow? {
    let first: BenchRow =
      switch part {
      case .writing: .rawBufferedWrite
      case .reading: .rawRead
      case .syncing: .rawSync
      }
    return self == first ? nil : first
  }

  var title: String {
    switch self {
    case .rawBufferedWrite: "raw write of 256 KiB at a time"
    case .append: "append"
    case .appendBatches: "append in batches of \(Self.batch)"
    case .rawWrite: "raw write of each record"
    case .rawRead: "raw read of 256 KiB at a time"
    case .read: "read"
    case .rawSync: "raw write and fdatasync of each"
    case .appendSync: "append and sync of each"
    case .appendSyncedByTasks: "append by \(Self.tasks) tasks, synced"
    case .appendSyncEvery:
      "append, sync every \(Figures.grouped(Self.syncEveryRecords))"
        + " / \(Self.syncEveryMilliseconds) ms"
    }
  }
}

/// The result of one contestant in one round.
struct BenchSample {
  var records: UInt64
  var seconds: Double
  /// How many syncs that took, if they were counted.
  var syncs: UInt64?

  /// The time of a record.
  var nanoseconds: Double { seconds * 1e9 / Double(max(1, records)) }
}

/// The median of several figures, and the least and the most.
struct BenchSpread: Equatable {
  var median: Double
  var least: Double
  var most: Double

  init(median: Double, least: Double, most: Double) {
    self.median = median
    self.least = least
    self.most = most
  }

  /// Returns nil if there are no figures.
  init?(of figures: [Double]) {
    let sorted = figures.sorted()
    guard let first = sorted.first, let last = sorted.last else { return nil }
    let middle = sorted.count / 2
    self.init(
      median: sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2,
      least: first, most: last)
  }
}

/// The figures of one row over all rounds.
struct BenchFigures {
  var row: BenchRow
  /// Nanoseconds of a record.
  var time: BenchSpread
  /// The time of a record divided by the reference's time in the same round, because both ran at
  /// nearly the same moment.
  var ratio: BenchSpread?
  var syncsASecond: Double?
  var recordsASync: Double?

  var recordsASecond: Double { 1e9 / time.median }
}

/// The samples of all rounds.
struct BenchResults {
  private var samples: [BenchRow: [BenchSample]] = [:]

  /// Adds a sample. Call it once for each row and round.
  mutating func add(_ sample: BenchSample, to row: BenchRow) {
    samples[row, default: []].append(sample)
  }

  /// The figures of every measured row, in the table's order.
  var figures: [BenchFigures] { BenchRow.allCases.compactMap(figures) }

  func figures(of row: BenchRow) -> BenchFigures? {
    let own = samples[row] ?? []
    guard let time = BenchSpread(of: own.map(\.nanoseconds)) else { return nil }
    let references = row.reference.flatMap { samples[$0] } ?? []
    let synced = own.filter { ($0.syncs ?? 0) > 0 }
    return BenchFigures(
      row: row, time: time,
      ratio: BenchSpread(of: zip(own, references).map { $0.nanoseconds / $1.nanoseconds }),
      syncsASecond: BenchSpread(of: synced.map { Double($0.syncs ?? 0) / $0.seconds })?.median,
      recordsASync: BenchSpread(
        of: synced.map { Double($0.records) / Double($0.syncs ?? 1) })?.median)
  }
}
