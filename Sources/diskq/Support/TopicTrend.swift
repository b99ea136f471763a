// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// How fast a number changes, since the last look and over a longer time.
struct RateMeter: Sendable {
  private struct Sample {
    var time: Duration
    var value: Double
  }

  private let window: Duration
  /// The samples, ascending in time. If a sample is at least a window old, the first one is the
  /// newest of those.
  private var samples: [Sample] = []

  init(over window: Duration) { self.window = window }

  /// Adds a sample.
  ///
  /// - Parameter value: the number, or nil if it is unknown. Samples before a nil are dropped.
  mutating func add(_ value: UInt64?, at time: Duration) {
    guard let value else {
      samples = []
      return
    }
    samples.append(Sample(time: time, value: Double(value)))
    let old = samples.lastIndex { $0.time <= time - window } ?? 0
    // If the looks are further apart than the window, keep the two newest.
    samples.removeFirst(max(0, min(old, samples.count - 2)))
  }

  /// Like `add`, for a number that only grows. A smaller number starts a new count.
  mutating func add(growing value: UInt64?, at time: Duration) {
    if let value, let last = samples.last, Double(value) < last.value { samples = [] }
    add(value, at: time)
  }

  mutating func restart() { samples = [] }

  /// The time from the first sample to the last.
  var span: Duration {
    guard let first = samples.first, let last = samples.last else { return .zero }
    return last.time - first.time
  }

  var rates: Rates? {
    guard let first = samples.first, let last = samples.last,
      let before = samples.dropLast().last,
      let now = RateMeter.rate(before, last), let smooth = RateMeter.rate(first, last)
    else { return nil }
    return Rates(now: now, smooth: smooth)
  }

  private static func rate(_ from: Sample, _ to: Sample) -> Double? {
    let seconds = (to.time - from.time) / .seconds(1)
    return seconds > 0 ? (to.value - from.value) / seconds : nil
  }
}

/// Changes of a number, per second.
struct Rates: Sendable, Hashable {
  /// Since the last look.
  var now: Double
  /// Over a longer time.
  var smooth: Double
}

/// The prediction for a consumer, if it and the writers go on at their present rates.
enum Outlook: Sendable, Hashable {
  case unknown
  case caughtUp
  case caughtUpIn(seconds: Double)
  /// Its lag stays the same.
  case keepsPace
  /// Neither the consumer nor a writer makes progress.
  case standsStill
  case fallsBehind

  /// - Parameters:
  ///   - remaining: the number of records left for the consumer.
  ///   - acknowledged: how many records a second it acknowledges.
  ///   - appended: how many records a second are appended.
  init(remaining: UInt64?, acknowledged: Double?, appended: Double?) {
    guard let remaining else {
      self = .unknown
      return
    }
    guard remaining > 0 else {
      self = .caughtUp
      return
    }
    guard let acknowledged, let appended else {
      self = .unknown
      return
    }
    // Both come in batches, so a difference below this margin is noise.
    let margin = 0.02 * max(acknowledged, appended)
    let gain = acknowledged - appended
    if acknowledged == 0, appended == 0 {
      self = .standsStill
    } else if gain > margin {
      self = .caughtUpIn(seconds: Double(remaining) / gain)
    } else {
      self = gain < -margin ? .fallsBehind : .keepsPace
    }
  }
}

/// The figures from several looks at a topic.
struct TopicTrend: Sendable {
  /// The time over which rates are smoothed.
  static let window = Duration.seconds(10)
  /// The time over which the disk is judged. It is longer, because slabs grow, are removed and get
  /// their space in steps.
  static let diskWindow = Duration.seconds(60)
  /// The disk is not judged before this time.
  static let shortestDiskSpan = Duration.seconds(10)

  struct ConsumerTrend: Sendable {
    var look: TopicLook.Consumer
    /// How many records a second it acknowledges.
    var rates: Rates?
    var outlook: Outlook
  }

  private(set) var look: TopicLook
  /// The time of the first look, in nanoseconds since 1970.
  let began: UInt64
  /// How many slabs were in one look and gone in a later one.
  private(set) var slabsRemoved: UInt64 = 0
  private var records = RateMeter(over: TopicTrend.window)
  private var bytes = RateMeter(over: TopicTrend.window)
  private var room = RateMeter(over: TopicTrend.diskWindow)
  private var acknowledged: [String: RateMeter] = [:]

  init(_ look: TopicLook) {
    self.look = look
    began = look.wallTime
    take(look)
  }

  mutating func add(_ next: TopicLook) {
    // Both lists ascend.
    var left = next.slabs[...]
    for base in look.slabs {
      left = left.drop { $0 < base }
      if left.first != base { slabsRemoved += 1 }
    }
    // Addresses leap at a new epoch.
    if Epoch.of(next.next.rawValue) != Epoch.of(look.next.rawValue) { bytes.restart() }
    take(next)
    look = next
  }

  private mutating func take(_ next: TopicLook) {
    records.add(growing: next.nextOrdinal, at: next.time)
    bytes.add(growing: next.next.rawValue, at: next.time)
    room.add(next.room, at: next.time)
    var meters: [String: RateMeter] = [:]
    for consumer in next.consumers {
      var meter = acknowledged[consumer.name] ?? RateMeter(over: TopicTrend.window)
      meter.add(growing: consumer.ordinal, at: next.time)
      meters[consumer.name] = meter
    }
    acknowledged = meters
  }

  // MARK: Figures

  /// How many records a second are appended.
  var recordRates: Rates? { records.rates }

  /// How many bytes a second are appended, with the bytes of the format around records.
  var byteRates: Rates? { bytes.rates }

  var consumers: [ConsumerTrend] {
    look.consumers.map { consumer in
      let rates = acknowledged[consumer.name]?.rates
      let outlook = Outlook(
        remaining: consumer.records, acknowledged: rates?.smooth, appended: recordRates?.smooth)
      return ConsumerTrend(look: consumer, rates: rates, outlook: outlook)
    }
  }

  /// The seconds until the disk is full, if its free space goes on shrinking at this rate. Other
  /// programs use the disk too. nil if the space does not shrink, or after less than
  /// `shortestDiskSpan`.
  var diskIsFullIn: Double? {
    guard room.span >= TopicTrend.shortestDiskSpan, let rate = room.rates?.smooth, rate < 0
    else { return nil }
    return Double(look.room) / -rate
  }

  /// The age of the newest mark, in seconds.
  var newestAge: Double? {
    look.newestStamp.map { Double(look.wallTime > $0 ? look.wallTime - $0 : 0) / 1e9 }
  }
}
