// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import FuzzSupport

@testable import DiskQueue
@testable import DiskQueueInspection

/// Opens a consumer on a cursor's file, and does what a consumer does.
struct Holding: Sendable {
  static let name = "fuzzed"
  let place: FuzzTopic
  let known: KnownTopic

  init(_ known: KnownTopic, _ cursor: CursorImage) {
    self.known = known
    place = FuzzTopic(known.slabs)
    place.putCursor(Self.name, cursor.bytes)
  }

  private var judgement: CursorImage.Judgement { CursorImage.judge(place.cursor(Self.name) ?? []) }

  private var generation: UInt64? {
    if case .sound(let slot) = judgement { slot.generation } else { nil }
  }

  /// The file is described correctly. A cleaner, which depends on it, changes nothing when it only
  /// plans.
  func describe() {
    do throws(QueueError) {
      let all = try QueueConsumer.consumers(of: place.topic)
      require(all.count == 1 && all[0].name == Self.name, "it is not listed")
      switch (all[0].state, judgement) {
      case (.neverWritten, .never), (.damaged, .damaged), (.unsupported, .unsupported): break
      case (.sound, .sound(let slot)):
        require(all[0].position?.rawValue == slot.address, "another address")
        require(all[0].ordinal == slot.ordinal, "another ordinal")
      case (let state, let judgement): fatalError("\(judgement) is described as \(state)")
      }
      _ = try ConsumerInfo.all(of: place.topic)
      let retention = Retention(bytes: .bytes(0), minimumBytes: .bytes(0))
      let cleaner = try SlabCleaner(topic: place.topic, environment: .fuzzing)
      let plan = try cleaner.plan(keeping: retention).removals
      switch judgement {
      case .never, .damaged, .unsupported: require(plan.isEmpty, "a slab goes that is held")
      case .sound(let slot):
        let starts = Set(known.slabs.map(\.base))
        for removal in plan {
          require(starts.contains(removal.slab.rawValue), "a slab goes that is not there")
          require(removal.slab.rawValue < slot.address, "a slab goes that is held")
        }
      }
    } catch {
      fatalError("it cannot be described: \(error)")
    }
  }

  /// Holds the consumer while the script lasts. A damaged file is never taken for a new one.
  func hold(_ script: [UInt8]) {
    let before = place.cursor(Self.name)
    let judged = judgement
    let consumer: QueueConsumer
    do throws(QueueError) {
      consumer = try QueueConsumer(
        topic: place.topic, name: Self.name, from: .earliest, options: options,
        environment: .fuzzing, onLoss: { _ = $0.description })
    } catch {
      switch judged {
      case .never: fatalError("a new one cannot be opened: \(error)")
      case .damaged: require(error.code == .damagedCursor, "damage is told as \(error)")
      case .unsupported: require(error.code == .unsupportedFormat, "a version is told as \(error)")
      case .sound:
        switch error.code {
        case .unsupportedFormat, .notARecord, .damagedCursor: break
        default: fatalError("a sound one cannot be opened: \(error)")
        }
      }
      require(place.cursor(Self.name) == before, "what could not be opened was changed")
      return
    }
    if case .damaged = judged { fatalError("a damaged one was opened") }
    if case .unsupported = judged { fatalError("a newer one was opened") }
    let start = consumer.position.rawValue
    if case .sound(let slot) = judged { require(start <= slot.address, "it begins behind itself") }
    let script = script
    let holder = Holder(consumer)
    wait {
      guard let consumer = holder.giveUp() else { return }
      do throws(QueueError) {
        try await consume(consumer, from: start, script)
        try await consumer.close()
      } catch {
        switch error.code {
        case .unsupportedFormat: break
        // The cursor reached the last generation (2^64 - 1): none can follow it.
        case .damagedCursor where generation == .max: break
        default: fatalError("a held one fails: \(error)")
        }
      }
    }
    guard case .sound(let slot) = judgement else { fatalError("it is not sound afterwards") }
    if slot.generation == .max { return }
    require(slot.address == consumer.position.rawValue, "another address was written")
    require(slot.ordinal == consumer.ordinal, "another ordinal was written")
  }

  private var options: QueueConsumer.Options {
    var options = QueueConsumer.Options()
    options.bufferSize = .kibibytes(4)
    options.maximumBatchBytes = .bytes(600)
    return options
  }

  private func consume(
    _ consumer: QueueConsumer, from start: UInt64, _ script: [UInt8]
  ) async throws(QueueError) {
    var script = script[...]
    var delivered: [KnownTopic.Seen] = []
    while let batch = try await consumer.nextBatch(
      upTo: 1 + Int(script.popFirst() ?? 20) % 32, following: false)
    {
      delivered += batch.map { KnownTopic.Seen(address: $0.address.rawValue, ordinal: $0.ordinal) }
      require(delivered.count <= known.records.count, "more is delivered than there is")
      guard let step = script.popFirst() else { continue }
      let index = Int(step >> 2) % batch.count
      let before = consumer.position
      switch step % 4 {
      case 0: try await batch.acknowledge(through: index)
      case 1: try await batch.acknowledge(only: index)
      case 2: try await batch.acknowledge(only: index..<batch.count)
      default: break
      }
      require(consumer.position >= before, "a cursor goes back")
    }
    let expected = known.records.map(\.address).filter { $0 >= start }
    require(delivered.map(\.address) == expected, "other records are delivered than there are")
  }

  private func wait(_ body: @escaping @Sendable () async -> Void) {
    let done = DispatchSemaphore(value: 0)
    Task.detached {
      await body()
      done.signal()
    }
    done.wait()
  }

  /// A reset by name works whatever the file held, unless a newer version wrote it.
  func reset(to position: Topic.Position) {
    let before = judgement
    do throws(QueueError) {
      try QueueConsumer.reset(Self.name, of: place.topic, to: position, environment: .fuzzing)
      guard case .sound = judgement else { fatalError("it is not sound behind a reset") }
    } catch {
      switch (before, error.code) {
      case (.unsupported, .unsupportedFormat), (_, .notARecord), (_, .beyondLatest): break
      default: fatalError("it cannot be reset: \(error)")
      }
    }
  }
}

/// Hands a consumer over, so that a finished task no longer references it. If a consumer cannot be
/// closed, it gives up its file when it is released.
private final class Holder: @unchecked Sendable {
  private var consumer: QueueConsumer?

  init(_ consumer: QueueConsumer) { self.consumer = consumer }

  func giveUp() -> QueueConsumer? { consumer.take() }
}
