// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// How fast a number changes: since the last look, and over a longer time.
struct RateMeter: Sendable {
  private struct Sample {
    var time: Duration
    var value: Double
  }

  private let window: Duration
  /// Ascending in time. The first is the newest that is at least a window old, if one is.
  private var samples: [Sample] = []

  init(over window: Duration) { self.window = window }

  /// - Parameter value: nil where it is not known; what follows is then no change of what was before.
  mutating func add(_ value: UInt64?, at time: Duration) {
    guard let value else {
      samples = []
      return
    }
    samples.append(Sample(time: time, value: Double(value)))
    let old = samples.lastIndex { $0.time <= time - window } ?? 0
    // With looks further apart than that, the two newest.
    samples.removeFirst(max(0, min(old, samples.count - 2)))
  }

  /// As `add`, for what only grows: one that is less counts something new.
  mutating func add(growing value: UInt64?, at time: Duration) {
    if let value, let last = samples.last, Double(value) < last.value { samples = [] }
    add(value, at: time)
  }

  mutating func restart() { samples = [] }

  /// How long ago the first of the samples was taken.
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

/// A number a second.
struct Rates: Sendable, Hashable {
  /// Since the last look.
  var now: Double
  /// Over a longer time.
  var smooth: Double
}

/// What becomes of a consumer if it and the writers go on as they do.
enum Outlook: Sendable, Hashable {
  case unknown
  case caughtUp
  case caughtUpIn(seconds: Double)
  /// Its distance stays what it is.
  case keepsPace
  /// Nobody moves.
  case standsStill
  case fallsBehind

  /// - Parameters:
  ///   - behind: how many records it is behind.
  ///   - acknowledged: how many records a second it takes.
  ///   - appended: how many records a second there are more.
  init(behind: UInt64?, acknowledged: Double?, appended: Double?) {
    guard let behind else {
      self = .unknown
      return
    }
    guard behind > 0 else {
      self = .caughtUp
      return
    }
    guard let acknowledged, let appended else {
      self = .unknown
      return
    }
    // Both come in batches: a difference within this part of them says nothing.
    let margin = 0.02 * max(acknowledged, appended)
    let gain = acknowledged - appended
    if acknowledged == 0, appended == 0 {
      self = .standsStill
    } else if gain > margin {
      self = .caughtUpIn(seconds: Double(behind) / gain)
    } else {
      self = gain < -margin ? .fallsBehind : .keepsPace
    }
  }
}

/// What looks at a topic, one after the other, say together.
struct TopicTrend: Sendable {
  /// What rates are smoothed over.
  static let window = Duration.seconds(10)
  /// Slabs grow, are removed, and get their room in steps: the disk is judged over longer, and not
  /// at all before so long.
  static let diskWindow = Duration.seconds(60)
  static let shortestDiskSpan = Duration.seconds(10)

  struct Consumer: Sendable {
    var look: TopicLook.Consumer
    /// Records a second that it acknowledges.
    var rates: Rates?
    var outlook: Outlook
  }

  private(set) var look: TopicLook
  /// When the first look was: nanoseconds since 1970.
  let began: UInt64
  /// How many slabs were seen and then were gone.
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
    // Both ascend.
    var left = next.slabs[...]
    for base in look.slabs {
      left = left.drop { $0 < base }
      if left.first != base { slabsRemoved += 1 }
    }
    // Addresses leap there.
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

  /// Records a second that are appended.
  var recordRates: Rates? { records.rates }

  /// Bytes a second that are appended, with what stands around records.
  var byteRates: Rates? { bytes.rates }

  var consumers: [Consumer] {
    look.consumers.map { consumer in
      let rates = acknowledged[consumer.name]?.rates
      let outlook = Outlook(
        behind: consumer.records, acknowledged: rates?.smooth, appended: recordRates?.smooth)
      return Consumer(look: consumer, rates: rates, outlook: outlook)
    }
  }

  /// In how many seconds the disk is full if its room, which others use as well, goes on shrinking as
  /// it does; nil where it does not, or was watched for too short a time.
  var diskIsFullIn: Double? {
    guard room.span >= TopicTrend.shortestDiskSpan, let rate = room.rates?.smooth, rate < 0
    else { return nil }
    return Double(look.room) / -rate
  }

  /// How long ago the newest record was marked, in seconds.
  var newestAge: Double? {
    look.newestStamp.map { Double(look.wallTime > $0 ? look.wallTime - $0 : 0) / 1e9 }
  }
}
