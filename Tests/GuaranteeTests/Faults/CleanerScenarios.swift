// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization

@testable import DiskQueue

extension FaultScenario {
  // MARK: Cleaning

  /// Many slabs, the last few of them unsynced, and a consumer in the middle.
  @Sendable private static func heldTopic(_ stage: FaultStage) throws {
    let writer = try stage.open()
    for number in 0..<60 {
      try stage.append(writer)
      if number == 40 { try stage.sync(writer) }
    }
    try stage.flush(writer)
    writer.dieForTesting()
    for _ in 0..<2 {
      try stage.consumer("reader", from: .ordinal(30)).close()
      stage.stands("reader", at: 30)
    }
  }

  @Sendable private static func freeTopic(_ stage: FaultStage) throws {
    let writer = try stage.open()
    try stage.append(writer, times: 60)
    try stage.close(writer)
  }

  private static func cleaning(
    _ name: String, _ operation: PublicOperation, isDryRun: Bool,
    prepare: @escaping @Sendable (FaultStage) throws -> Void
  ) -> FaultScenario {
    FaultScenario(
      name: name, covers: [operation], removes: true, prepare: prepare
    ) { stage in
      let cleaner = try stage.trying("a cleaner") {
        try SlabCleaner(topic: stage.topic, environment: stage.environment)
      }
      var removed: Set<UInt64> = []
      let slabs = stage.storage.slabs.count
      let report = try stage.trying("clean") {
        func take(_ removal: SlabCleaner.Removal) { removed.insert(removal.slab.rawValue) }
        return isDryRun
          ? try cleaner.plan(keeping: .nothing, onRemoval: take)
          : try cleaner.clean(keeping: .nothing, onRemoval: take)
      }
      stage.note("\(removed.sorted()) \(report.stopReason)")
      let left = isDryRun ? slabs : slabs - removed.count
      guard stage.storage.slabs.count == left else { throw Complaint("it said \(removed)") }
    }
  }

  /// No time passes on this clock.
  private struct FrozenClock: Clock {
    struct Instant: InstantProtocol {
      var offset = Duration.zero
      func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
      func duration(to other: Instant) -> Duration { other.offset - offset }
      static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }
    var now: Instant { Instant() }
    var minimumResolution: Duration { .nanoseconds(1) }
    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
      try Task.checkCancellation()
    }
  }

  /// Runs a cleaner for three rounds, and then cancels its task.
  private final class Rounds: Sendable {
    private let state = Mutex((rounds: 0, removed: Set<UInt64>()))
    var removed: Set<UInt64> { state.withLock { $0.removed } }

    func run(_ cleaner: SlabCleaner) async -> Result<Void, any Error> {
      let run = Task { () -> Result<Void, any Error> in
        do {
          try await cleaner.run(
            every: .seconds(1), keeping: .nothing, clock: FrozenClock(),
            onClean: { [self] in if take($0) { withUnsafeCurrentTask { $0?.cancel() } } })
          return .success(())
        } catch {
          return .failure(error)
        }
      }
      return await run.value
    }

    private func take(_ report: SlabCleaner.Report) -> Bool {
      state.withLock { state in
        state.rounds += 1
        state.removed.formUnion(report.removals.map(\.slab.rawValue))
        return state.rounds >= 3
      }
    }
  }

  static let cleaners: [FaultScenario] = [
    cleaning("cleaning all that may go", .clean, isDryRun: false, prepare: freeTopic),
    cleaning("cleaning behind a consumer", .clean, isDryRun: false, prepare: heldTopic),
    cleaning("planning to clean", .planCleaning, isDryRun: true, prepare: heldTopic),
    FaultScenario(
      name: "a cleaner that runs", covers: [.runCleaner], removes: true, prepare: heldTopic
    ) { stage in
      let cleaner = try stage.trying("a cleaner") {
        try SlabCleaner(topic: stage.topic, environment: stage.environment)
      }
      let rounds = Rounds()
      try await stage.awaiting("run") {
        try await rounds.run(cleaner).get()
      }
      stage.note("\(rounds.removed.sorted())")
    },
  ]

  // MARK: A channel

  private static let channelOptions = {
    var options = DiskChannel.Options()
    options.writer = SmallTopic.options
    options.writer.maximumBytes = .kibibytes(64)
    options.consumer = ConsumerTopic.options
    // So only closing writes the cursor.
    options.acknowledgementDelay = .seconds(3600)
    return options
  }()

  private static let channelName = DiskChannel.consumerName

  private static func open(_ stage: FaultStage) throws -> DiskChannel {
    stage.wants(channelName, at: stage.consumers[channelName]?.lowerBound ?? 0)
    var options = channelOptions
    options.consumer.deadLetters = stage.topicAside
    return try stage.trying("opening a channel") {
      try DiskChannel(topic: stage.topic, options: options, environment: stage.environment) {
        stage.note("\($0)")
      }
    }
  }

  private static func send(_ channel: DiskChannel, _ stage: FaultStage, times: Int) async throws {
    for _ in 0..<times {
      let payload = stage.nextPayload
      let count = stage.payloads.count
      try await stage.awaiting("send") {
        guard stage.payloads.count == count else { return }
        do {
          try await channel.send(payload)
          stage.didAppend(payload)
          stage.didFlush()
        } catch let error as QueueError {
          if error.appended == 1 { stage.didAppend(payload) }
          throw error
        }
      }
    }
  }

  private static func receive(
    _ channel: DiskChannel, _ stage: FaultStage, puttingAside aside: Set<UInt64> = []
  ) async throws {
    var iterator = channel.makeAsyncIterator()
    while true {
      let message = try await stage.awaiting("receive") { try await iterator.next() }
      guard let message else { break }
      let ordinal = message.record.ordinal
      stage.wants(channelName, at: ordinal + 1)
      if aside.contains(ordinal) {
        try await stage.awaiting("deadLetter") {
          _ = try await message.deadLetter(reason: "number \(ordinal)")
        }
      } else {
        try await stage.awaiting("acknowledge") { try message.acknowledge() }
      }
      stage.note("\(ordinal) \(xxh3(message.payload))")
    }
    stage.note("end")
  }

  private static func close(_ channel: DiskChannel, _ stage: FaultStage) async throws {
    try await stage.awaiting("close") { try await channel.close() }
    stage.didSync()
    stage.stands(channelName, at: stage.consumers[channelName]?.upperBound ?? 0)
  }

  static let channels: [FaultScenario] = [
    FaultScenario(
      name: "a channel, opened, filled, emptied, closed, and opened again",
      covers: [.openChannel, .send, .receive, .acknowledgeMessage, .settleChannel, .closeChannel],
      removes: true
    ) { stage in
      var channel = try open(stage)
      try await send(channel, stage, times: 20)
      channel.finish()
      try await receive(channel, stage)
      try await close(channel, stage)
      channel = try open(stage)
      try await send(channel, stage, times: 5)
      channel.finish()
      try await receive(channel, stage)
      try await stage.awaiting("settle") { try await channel.settle() }
      stage.stands(channelName, at: stage.consumers[channelName]?.upperBound ?? 0)
      try await close(channel, stage)
    },
    FaultScenario(
      name: "a channel's message put aside", covers: [.putMessageAside], removes: true
    ) { stage in
      let channel = try open(stage)
      try await send(channel, stage, times: 4)
      channel.finish()
      try await receive(channel, stage, puttingAside: [1, 3])
      try await close(channel, stage)
    },
  ]
}
