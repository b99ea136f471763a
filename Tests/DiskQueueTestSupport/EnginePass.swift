// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue

/// Everything that one pass of the library's reader delivered, in the naive reader's terms.
package struct EnginePass {
  package var events: [NaiveEvent] = []
  /// The reader's position when there was nothing more.
  package var end: UInt64 = 0
  /// The error that ended the pass, if it did not reach the end of the log.
  package var error: QueueError?

  package var records: [NaiveRecord] {
    events.compactMap { if case .record(let record) = $0 { record } else { nil } }
  }

  package var losses: [NaiveLoss] {
    events.compactMap { if case .loss(let loss) = $0 { loss } else { nil } }
  }

  /// Reads a topic from a position to its end.
  package init(
    _ topic: Topic, from start: Topic.Position = .earliest, options: QueueReader.Options = .init()
  ) {
    let reported = Reported()
    do throws(QueueError) {
      var reader = try QueueReader(topic: topic, from: start, options: options) {
        reported.take($0)
      }
      while let record = try reader.nextCopy() {
        takeLosses(reported)
        events.append(
          .record(
            NaiveRecord(
              address: record.address.rawValue, ordinal: record.ordinal, payload: record.payload)))
      }
      takeLosses(reported)
      end = reader.position.rawValue
    } catch {
      takeLosses(reported)
      self.error = error
    }
  }

  private mutating func takeLosses(_ reported: Reported) {
    for loss in reported.losses { events.append(.loss(NaiveLoss(loss))) }
    reported.forget()
  }

  /// Describes how this pass differs from the naive reader's over the same bytes. Nil if they
  /// agree.
  ///
  /// The naive reader omits an ordinal that the format's page does not determine. The bounds of
  /// discarded and cleaned losses are not compared, because the page does not define them.
  package func difference(from naive: NaiveResult) -> String? {
    if let refused = naive.refused {
      if case .unsupportedFormat = error?.code { return nil }
      return "the naive reader refuses (\(refused)), the engine does not: \(self)"
    }
    if let error { return "the engine failed: \(error)" }
    for index in 0..<max(events.count, naive.events.count) {
      let mine = index < events.count ? events[index] : nil
      let other = index < naive.events.count ? naive.events[index] : nil
      if !Self.agree(mine, other) {
        return "event \(index) differs: engine \(Self.name(mine)), naive \(Self.name(other))"
      }
    }
    return end == naive.end ? nil : "the log ends at \(end), for the naive reader at \(naive.end)"
  }

  private static func agree(_ mine: NaiveEvent?, _ other: NaiveEvent?) -> Bool {
    switch (mine, other) {
    case (.record(let mine), .record(let other)):
      mine.address == other.address && mine.payload == other.payload
        && (other.ordinal == nil || mine.ordinal == other.ordinal)
    case (.loss(let mine), .loss(let other)):
      mine.cause == .damaged ? mine == other : mine.records == other.records
    default: mine == nil && other == nil
    }
  }

  private static func name(_ event: NaiveEvent?) -> String {
    switch event {
    case .record(let record):
      "record \(record.address) #\(record.ordinal.map(String.init) ?? "?")"
        + " of \(record.payload.count) bytes"
    case .loss(let loss):
      "\(loss.cause) \(loss.from)..<\(loss.to) \(loss.records.map(String.init) ?? "?")"
    case nil: "nothing"
    }
  }
}

extension NaiveRecord {
  package init(_ address: UInt64, ordinal: UInt64?, payload: [UInt8]) {
    self.init(address: address, ordinal: ordinal, payload: payload)
  }

  /// The address after it.
  package var end: UInt64 { address + 8 + UInt64(payload.count) }
}

extension NaiveLoss {
  package init(_ loss: Loss) {
    let cause: Cause =
      switch loss.cause {
      case .damaged: .damaged
      case .cleaned: .cleaned
      case .discarded: .discarded
      }
    self.init(
      cause: cause, from: loss.addresses.lowerBound.rawValue,
      to: loss.addresses.upperBound.rawValue, records: loss.records)
  }
}

extension Environment {
  /// A seed decides the clock and the ids. By default, nothing syncs in the background.
  package static func simulated(
    seed: UInt64 = 1, background: Background = .manual
  ) -> Environment {
    let clock = SimulatedClock(seed: seed)
    return Environment(
      now: { clock.now() }, randomID: { clock.randomID() }, background: background)
  }
}
