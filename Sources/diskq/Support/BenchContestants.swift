// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

// Opening, making files and removing them are not measured.

/// The work of a program that writes its payloads to a file itself.
struct RawBench {
  /// As many bytes as the library gathers in its buffers.
  private static let bufferBytes = 256 << 10

  var payload: [UInt8]
  var file: String
  var turn: BenchTurn

  func with(_ turn: BenchTurn) -> RawBench { RawBench(payload: payload, file: file, turn: turn) }

  /// Makes the file, and measures how `body` writes to it.
  private func writing(_ body: (Int32) throws -> UInt64) throws -> BenchSample {
    let descriptor = try System.makeFile(file)
    defer { System.closeFile(descriptor) }
    return try turn.measure { try body(descriptor) }
  }

  func writeBuffered() throws -> BenchSample {
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(Self.bufferBytes, payload.count), alignment: 64)
    defer { buffer.deallocate() }
    return try writing { descriptor in
      var filled = 0
      func write() throws {
        try System.write(
          descriptor, UnsafeRawBufferPointer(rebasing: buffer[..<filled]), name: file)
        filled = 0
      }
      let records = try payload.withUnsafeBytes { payload in
        try turn.repeating(records: turn.recordsAStep) {
          for _ in 0..<turn.recordsAStep {
            if filled + payload.count > buffer.count { try write() }
            UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyMemory(from: payload)
            filled += payload.count
          }
        }
      }
      try write()
      return records
    }
  }

  func writeEach() throws -> BenchSample {
    try writing { descriptor in
      try payload.withUnsafeBytes { payload in
        // A system call takes long enough to read the clock after each 64 of them.
        let step = min(turn.recordsAStep, 64)
        return try turn.repeating(records: step) {
          for _ in 0..<step { try System.write(descriptor, payload, name: file) }
        }
      }
    }
  }

  func writeAndSyncEach() throws -> BenchSample {
    let descriptor = try System.makeFile(file)
    defer { System.closeFile(descriptor) }
    return try payload.withUnsafeBytes { payload in
      func writeAndSync() throws {
        try System.write(descriptor, payload, name: file)
        try System.syncData(descriptor, name: file)
      }
      // The first sync also stores the new file itself, so it is not measured.
      try writeAndSync()
      return try turn.measure { try turn.repeating(records: 1, writeAndSync) }
    }
  }

  /// Reads the file of `writeBuffered` from its beginning to its end, again and again.
  func read() throws -> BenchSample {
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Self.bufferBytes, alignment: 64)
    defer { buffer.deallocate() }
    return try turn.passes {
      let descriptor = try System.openForReading(file)
      defer { System.closeFile(descriptor) }
      return try turn.measure {
        var bytes = 0
        while true {
          guard let count = try System.read(descriptor, into: buffer, name: file) else { continue }
          guard count > 0 else { return UInt64(bytes / payload.count) }
          bytes += count
        }
      }
    }
  }
}

/// The work of a program that uses the library.
struct QueueBench {
  private let payload: [UInt8]
  private let path: String
  private let turn: BenchTurn

  /// - Parameter path: the path of the topic to make or read.
  init(_ payload: [UInt8], _ path: String, _ turn: BenchTurn) {
    self.payload = payload
    self.path = path
    self.turn = turn
  }

  private var options: QueueWriter.Options {
    var options = QueueWriter.Options()
    // No slab is rolled in a turn: syncing a full slab costs disk time, and happens later anyway.
    options.slabSize = .gibibytes(1)
    return options
  }

  // `append` and `appendBatches` do not close their writers: the topic is removed next, so its
  // bytes need not reach the disk.

  func append() throws -> BenchSample {
    let writer = try QueueWriter(topic: Topic(path), options: options)
    return try turn.measure {
      let records = try appendSteps(to: writer)
      try writer.flush()
      return records
    }
  }

  private func appendSteps(to writer: QueueWriter) throws -> UInt64 {
    try turn.repeating(records: turn.recordsAStep) {
      try Self.append(payload, count: turn.recordsAStep, to: writer)
    }
  }

  /// The loop of an ordinary program: it uses only its arguments.
  @inline(never)
  private static func append(_ payload: [UInt8], count: Int, to writer: QueueWriter) throws {
    for _ in 0..<count { try writer.append(payload) }
  }

  func appendBatches() throws -> BenchSample {
    let writer = try QueueWriter(topic: Topic(path), options: options)
    let batch = Array(repeating: payload, count: BenchRow.batch)
    return try turn.measure {
      let records = try turn.repeating(records: batch.count) {
        try writer.append(contentsOf: batch)
      }
      try writer.flush()
      return records
    }
  }

  /// Reads the topic of `append` from its beginning to its end, again and again.
  func read() throws -> BenchSample {
    try turn.passes {
      var reader = try QueueReader(topic: Topic(path))
      var (records, bytes) = (0 as UInt64, 0)
      let sample = try turn.measure {
        while let record = try reader.next() {
          records += 1
          bytes += record.payload.count
        }
        return records
      }
      guard bytes == Int(records) * payload.count else {
        throw Failure("the records read are not those appended: run diskq verify", path: path)
      }
      return sample
    }
  }

  func appendAndSyncEach() throws -> BenchSample {
    try counting(options) { writer in
      try turn.measure {
        try turn.repeating(records: 1) {
          try writer.append(payload)
          try writer.sync()
        }
      }
    }
  }

  func appendByTasks() throws -> BenchSample {
    try counting(options) { writer in
      let (payload, turn) = (payload, turn)
      do {
        return try runTask(cancelledBy: turn.stop) {
          try await Self.append(payload, to: writer, turn)
        }
      } catch let error as QueueError where error.code == .cancelled && turn.stop.isStopped {
        throw turn.stopped
      }
    }
  }

  private static func append(
    _ payload: [UInt8], to writer: QueueWriter, _ turn: BenchTurn
  ) async throws -> BenchSample {
    let start = ContinuousClock.now
    let end = start + turn.length
    let most = max(1, turn.mostRecords / BenchRow.tasks)
    let records = try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<BenchRow.tasks {
        group.addTask {
          var records = 0
          repeat {
            try await writer.append(payload, ensuring: .synced)
            records += 1
          } while records < most && .now < end
          return records
        }
      }
      return try await group.reduce(0, +)
    }
    return BenchSample(
      records: UInt64(records), seconds: start.duration(to: .now) / .seconds(1))
  }

  func appendWithSyncEvery() throws -> BenchSample {
    var options = options
    options.syncEvery = .init(
      records: BenchRow.syncEveryRecords, time: .milliseconds(BenchRow.syncEveryMilliseconds))
    return try counting(options) { writer in
      try turn.measure {
        let records = try appendSteps(to: writer)
        try writer.sync()
        return records
      }
    }
  }

  /// Makes the topic, with one synced record, and counts the syncs that `body` causes.
  private func counting(
    _ options: QueueWriter.Options, _ body: (QueueWriter) throws -> BenchSample
  ) throws -> BenchSample {
    try System.makeDirectory(path)
    let counter = try SyncCounter(path)
    let writer = try QueueWriter(topic: Topic(storage: counter), options: options)
    try writer.append(payload)
    try writer.sync()
    let before = counter.count
    var sample = try body(writer)
    sample.syncs = counter.count - before
    return sample
  }
}

extension BenchTurn {
  /// Repeats a measured pass over the written records until the time is up, and at least once.
  fileprivate func passes(_ pass: () throws -> BenchSample) throws -> BenchSample {
    var sum = BenchSample(records: 0, seconds: 0)
    let end = ContinuousClock.now + length
    repeat {
      guard !stop.isStopped else { throw stopped }
      let sample = try pass()
      sum.records += sample.records
      sum.seconds += sample.seconds
    } while .now < end
    return sum
  }
}
