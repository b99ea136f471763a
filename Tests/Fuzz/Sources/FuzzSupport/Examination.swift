// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import Synchronization

@testable internal import DiskQueue
@testable internal import DiskQueueInspection

/// Does everything to a topic that can be done to it, and checks the rules that hold for any bytes.
///
/// A topic may be refused. By their types, all functions can only throw `QueueError` for that.
public struct Examination {
  private let place: FuzzTopic
  private var slabs: [UInt64: [UInt8]]
  /// Numbers that decide the positions to look at, besides the two ends.
  private let probes: [UInt64]
  private let options: QueueReader.Options

  /// - Parameter probes: any numbers.
  public init(of slabs: [SlabImage], probes: [UInt64]) {
    place = FuzzTopic(slabs)
    self.slabs = place.slabs
    self.probes = probes
    var options = QueueReader.Options()
    // Small enough that the read-ahead ends in the middle of frames.
    options.bufferSize = .kibibytes(4)
    options.maximumPayload = .bytes(probes.first.map { $0 % 2 == 0 } ?? true ? 1 << 20 : 1000)
    self.options = options
  }

  public mutating func run() {
    let before = pass(from: .earliest)
    for position in positions(in: before) { _ = pass(from: position) }
    lookUp(in: before)
    inspect(before)
    cleanDry()
    recover(before)
    clean()
    _ = pass(from: .earliest)
  }

  // MARK: Reading

  private struct Pass {
    var records: [(address: UInt64, ordinal: UInt64, payload: [UInt8])] = []
    var losses: [Loss] = []
    var passed = 0
    /// Whether `records` holds every record: none was too large, and there was no error.
    var isWhole: Bool { passed == 0 && error == nil }
    var error: QueueError?
    var end: UInt64 = 0
  }

  /// The losses that a reader reported.
  private final class Reported: Sendable {
    private let state = Mutex<[Loss]>([])
    var losses: [Loss] { state.withLock { $0 } }
    func take(_ loss: Loss) { state.withLock { $0.append(loss) } }
  }

  private func pass(from start: Topic.Position) -> Pass {
    let index = TopicIndex(place.storage)
    var pass = Pass()
    let reported = Reported()
    // Each step passes a frame, or ends a stretch of bytes or of slabs.
    let most = slabs.values.reduce(64) { $0 + $1.count / 8 + 16 }
    var steps = 0
    do throws(QueueError) {
      var reader = try QueueReader(
        topic: place.topic, from: start, options: options, environment: .fuzzing
      ) { reported.take($0) }
      try index.refresh()
      var isAtEnd = false
      while !isAtEnd {
        steps += 1
        require(steps + reported.losses.count <= most, "a pass does not end")
        do throws(QueueError) {
          if let record = try reader.nextCopy() {
            check(record, after: pass.records.last, index)
            pass.records.append((record.address.rawValue, record.ordinal, record.payload))
          } else {
            isAtEnd = true
          }
        } catch {
          guard error.code == .payloadTooLarge else { throw error }
          pass.passed += 1
        }
      }
      pass.end = reader.position.rawValue
      let more = try reader.next() != nil
      require(!more, "there is something behind the end")
    } catch {
      check(error)
      pass.error = error
    }
    pass.losses = reported.losses
    for loss in pass.losses { _ = loss.description }
    if Self.explains { explain(pass, start) }
    return pass
  }

  /// FUZZ_EXPLAIN=1 prints the result of each pass, to look into a finding.
  private static let explains = ProcessInfo.processInfo.environment["FUZZ_EXPLAIN"] != nil

  private func explain(_ pass: Pass, _ start: Topic.Position) {
    print("from \(start): end \(pass.end), error \(pass.error.map { "\($0)" } ?? "none")")
    for (base, bytes) in slabs.sorted(by: { $0.key < $1.key }) {
      print(
        "  slab \(base)..<\(base &+ UInt64(bytes.count)):",
        bytes.map { "\($0)" }.joined(separator: " "))
    }
    for record in pass.records {
      print("  record \(record.address) #\(record.ordinal), \(record.payload.count) bytes")
    }
    for loss in pass.losses { print("  \(loss)") }
  }

  private func check(_ error: QueueError) {
    require(!error.message.isEmpty && !error.description.isEmpty, "an error says nothing")
    // Only wrong bytes can cause an error here. These errors have other causes.
    switch error.code {
    case .locked, .closed, .syncFailed, .noSpace, .noSuchTopic, .invalidOption:
      fatalError("that cannot be: \(error)")
    default: break
    }
  }

  /// A delivered record is stored at its address, with a correct checksum.
  private func check(
    _ record: QueueRecord, after last: (address: UInt64, ordinal: UInt64, payload: [UInt8])?,
    _ index: TopicIndex
  ) {
    let address = record.address.rawValue
    let count = record.payload.count
    if let last {
      require(address > last.address, "\(address) is delivered behind \(last.address)")
    }
    guard let place = index.lastIndex(notAbove: address), let bytes = slabs[index.bases[place]]
    else { fatalError("a record without a slab at \(address)") }
    let base = index.bases[place]
    let offset = Int(address - base)
    guard let length: UInt32 = bytes.integer(offset),
      let checksum: UInt32 = bytes.integer(offset + 4), bytes.count - offset - 8 >= count
    else { fatalError("a record at \(address) is not in its slab") }
    let body = offset + 8..<offset + 8 + count
    require(Array(bytes[body]) == record.payload, "another payload at \(address)")
    if index.holdsVersion1(base) {
      require(Int(length) == count || Int(length) == count + 4, "another length at \(address)")
      require(checksum == bytes.xxh32(body), "a wrong checksum at \(address)")
    } else {
      require(Int(length) == count, "another length at \(address)")
      let seed = (index.topicID ?? 0) ^ address
      require(checksum == bytes.frameChecksum(body, seed: seed), "a wrong checksum at \(address)")
    }
  }

  /// The end, and up to two positions for each probe.
  private func positions(in pass: Pass) -> [Topic.Position] {
    var positions: [Topic.Position] = [.latest]
    for probe in probes {
      let kinds: [Topic.Position] = [
        .address(Address(rawValue: probe)), .ordinal(probe), .ago(.seconds(Int64(probe % 1000))),
        .time(since1970: .nanoseconds(Int64(bitPattern: probe))),
        .time(since1970: .seconds(Int64(bitPattern: probe))),
      ]
      positions.append(kinds[Int(probe % 5)])
      guard !pass.records.isEmpty else { continue }
      let record = pass.records[Int(probe % UInt64(pass.records.count))]
      positions.append(
        probe % 3 == 0
          ? .ordinal(record.ordinal)
          : .address(Address(rawValue: record.address &+ (probe % 3 == 1 ? 0 : probe >> 2 % 16))))
    }
    return positions
  }

  private func lookUp(in pass: Pass) {
    do throws(QueueError) {
      var reader = try QueueReader(
        topic: place.topic, from: .earliest, options: options, environment: .fuzzing
      ) { _ in }
      for probe in probes {
        var addresses = [probe]
        if !pass.records.isEmpty {
          let address = pass.records[Int(probe % UInt64(pass.records.count))].address
          addresses += [address, address &+ 1]
        }
        for address in addresses {
          do throws(QueueError) {
            let found = try reader.record(at: Address(rawValue: address)).address.rawValue
            require(found == address, "asked for \(address), got \(found)")
          } catch {
            check(error)
          }
        }
      }
    } catch {
      check(error)
    }
  }

  // MARK: Inspecting

  private func inspect(_ pass: Pass) {
    do throws(QueueError) {
      let info = try TopicInfo(of: place.topic)
      require(info.slabs.count == slabs.count, "slabs are missing from the topic's description")
    } catch {
      check(error)
    }
    do throws(QueueError) {
      var findings = 0
      let verification = try TopicVerification(of: place.topic) { _ in findings += 1 }
      if pass.isWhole {
        require(
          verification.records == UInt64(pass.records.count), "verify counts other records")
        require(verification.end.rawValue == pass.end, "verify comes to another end")
        let damage = pass.losses.filter { $0.cause == .damaged }.count
        require(verification.damagedRanges == UInt64(damage), "verify finds other damage")
      }
    } catch {
      // `verify` also looks at slabs past the end of the log, and may refuse their format.
      check(error)
      require(!pass.isWhole || error.code == .unsupportedFormat, "verify fails: \(error)")
    }
    do throws(QueueError) {
      let index = TopicIndex(place.storage)
      try index.refresh()
      for base in index.bases { try scan(base, index) }
    } catch {
      check(error)
    }
  }

  /// Scans a slab's file frame by frame. The items must leave no gap.
  private func scan(_ base: UInt64, _ index: TopicIndex) throws(QueueError) {
    guard let file = try SlabFile.open(base, in: place.storage) else { return }
    let version1 = index.holdsVersion1(base) ? try index.version1Length(of: file) : nil
    let end = try file.end()
    var scan = try SlabScan(
      file, from: base, to: end, topicID: version1 == nil ? try file.ownTopicID() : nil,
      version1: version1, storage: place.storage)
    var position = base
    while let item = try scan.next() {
      let before = position
      switch item {
      case .header: position &+= 80
      case .mark(let mark): position = mark.end
      case .record(let address, let count, _): position = address &+ 8 &+ count
      case .neither(let from, let to):
        require(from == before, "a gap in a scan")
        position = to
      case .room(let from, let to):
        require(from == before && to == end, "room that is not the end of a slab")
        position = to
      }
      require(position > before && position <= end, "a scan does not go on")
    }
    require(position == end, "a scan ends before its slab")
  }

  // MARK: Writing

  /// Opens the topic for writing, twice. No old byte changes, and the appended records are found.
  private mutating func recover(_ before: Pass) {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(64)
    options.bufferSize = .kibibytes(4)
    if let probe = probes.first { options.maximumPayload = .bytes(Int64(1000 << (probe % 15))) }
    do throws(QueueError) {
      let writer = try QueueWriter(topic: place.topic, options: options, environment: .fuzzing)
      let recovery = writer.recovery
      let old = slabs
      let payloads: [[UInt8]] = [[], [1, 2, 3], [UInt8](repeating: 9, count: 900)]
      var addresses: [Address] = []
      for payload in payloads { addresses.append(try writer.append(payload).address) }
      try writer.close()
      checkUnchanged(old, recovery)
      let again = try QueueWriter(topic: place.topic, options: options, environment: .fuzzing)
      require(again.recovery.state == .clean, "a closed topic is found \(again.recovery.state)")
      try again.close()
      slabs = place.slabs
      let after = pass(from: .earliest)
      var reader = try QueueReader(topic: place.topic, from: .earliest) { _ in }
      for (address, payload) in zip(addresses, payloads) {
        let found = try reader.record(at: address).copy().payload
        require(found == payload, "what was appended is not there")
        require(
          after.error != nil || after.records.contains { $0.address == address.rawValue },
          "what was appended is not come to")
      }
    } catch {
      check(error)
      slabs = place.slabs
    }
  }

  private func checkUnchanged(_ old: [UInt64: [UInt8]], _ recovery: RecoveryReport) {
    let new = place.slabs
    for (base, bytes) in old {
      guard let now = new[base] else { fatalError("opening removed slab \(base)") }
      require(now.starts(with: bytes), "opening changed slab \(base)")
      let mayGrow = recovery.state == .clean && base == old.keys.max()
      require(mayGrow || now.count == bytes.count, "opening wrote to slab \(base)")
    }
  }

  // MARK: Cleaning

  private var retentions: [Retention] {
    [
      Retention(bytes: .bytes(0), minimumBytes: .bytes(0)),
      Retention(age: .seconds(1), minimumBytes: .bytes(1000)),
      Retention(records: (probes.last ?? 0) % 100, minimumBytes: .bytes(0), consumers: .ignored),
    ]
  }

  private func cleanDry() {
    for retention in retentions {
      do throws(QueueError) {
        _ = try SlabCleaner(topic: place.topic, environment: .fuzzing).plan(keeping: retention)
      } catch {
        check(error)
      }
    }
    require(place.slabs == slabs, "planning changed something")
  }

  private mutating func clean() {
    for retention in retentions.reversed() {
      do throws(QueueError) {
        let removals = try SlabCleaner(topic: place.topic, environment: .fuzzing)
          .clean(keeping: retention).removals
        let left = place.slabs
        require(left.count + removals.count == slabs.count, "another number of slabs is gone")
        require(slabs.isEmpty || !left.isEmpty, "the last slab is gone")
        for removal in removals {
          require(left[removal.slab.rawValue] == nil, "what was removed is there")
          require(
            left.keys.allSatisfy { $0 > removal.slab.rawValue }, "a slab went before older ones")
        }
        slabs = left
      } catch {
        check(error)
        slabs = place.slabs
      }
    }
  }
}
