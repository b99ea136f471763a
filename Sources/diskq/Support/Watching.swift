// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Looks at a topic again and again, until a stop is asked for: on a terminal in place, elsewhere a
/// line a look.
struct Watching {
  let topic: String
  /// From one look to the next, at least.
  let interval: Duration
  let json: Bool
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool

  /// A look takes no more than this part of the time, however many slabs there are.
  static let share = 20

  private let start = ContinuousClock.now

  init(topic: String, interval: Duration, json: Bool, jsonStrings: Bool) {
    self.topic = topic
    self.interval = interval
    self.json = json
    self.jsonStrings = jsonStrings
  }

  func run() throws {
    if !json, System.canBeDrawnOn(System.standardOutput) {
      try runOnTerminal()
    } else {
      try runInLines()
    }
  }

  /// How long after its begin the next look begins.
  static func pause(_ interval: Duration, behindLookOf time: Duration) -> Duration {
    max(interval, time * share)
  }

  /// What comes of a look behind the first one.
  private enum Seen {
    case look(TopicLook)
    /// Slabs are removed while they are looked at, and topics put in another place: that ends nothing.
    case failure(String)
  }

  private func look() -> Seen {
    do {
      return .look(try TopicLook(at: topic, since: start))
    } catch {
      return .failure(Messages.sentence(error))
    }
  }

  // MARK: Lines

  private func runInLines() throws {
    let stop = try StopSignals.caught()
    var output = Output(placesAreText: jsonStrings)
    var begin = ContinuousClock.now
    var trend = TopicTrend(try TopicLook(at: topic, since: start))
    var complaint: String?
    put(trend, to: &output)
    while output.isOpen {
      let next = begin + Watching.pause(interval, behindLookOf: begin.duration(to: .now))
      // Who reads the lines may be gone long before the next one.
      guard
        case .none = System.waitForAny(
          [.readable(stop.descriptor), .closed(System.standardOutput)], until: next)
      else { break }
      begin = .now
      switch look() {
      case .look(let look):
        trend.add(look)
        complaint = nil
        put(trend, to: &output)
      case .failure(let sentence):
        // Once, not every second.
        if sentence != complaint { Messages.say(sentence) }
        complaint = sentence
      }
    }
    try output.finish()
  }

  private func put(_ trend: TopicTrend, to output: inout Output) {
    if json {
      output.putLine(WatchLine.object(trend, topic: topic))
    } else {
      output.put(WatchLine.text(trend) + "\n")
    }
    output.drain()
  }

  // MARK: Terminal

  private func runOnTerminal() throws {
    // Before any thread; and a topic that is none is said on the screen that the user sees.
    System.blockTerminalSignals()
    let stop = try StopSignals.caught()
    let signals = try System.terminalSignalPipe()
    var begin = ContinuousClock.now
    var trend = TopicTrend(try TopicLook(at: topic, since: start))
    var failure: String?

    let terminal = Terminal()
    // At once, whatever a look or the terminal is waiting for.
    stop.onStop { terminal.giveBackIfPossible() }
    defer { terminal.giveBack() }
    try terminal.take()
    var keys: Int32? = System.isTerminal(System.standardInput) ? System.standardInput : nil
    var cost = begin.duration(to: .now)
    while true {
      let size = System.terminalSize(System.standardOutput)
      try terminal.draw(
        WatchScreen.lines(trend, topic: topic, notice: failure ?? notice(cost), size: size),
        size: size)
      let event = System.waitForAny(
        [.readable(stop.descriptor), .readable(signals)] + (keys.map { [.readable($0)] } ?? []),
        until: begin + Watching.pause(interval, behindLookOf: cost))
      switch event {
      case nil:
        begin = .now
        switch look() {
        case .look(let look):
          trend.add(look)
          failure = nil
        case .failure(let sentence): failure = sentence
        }
        cost = begin.duration(to: .now)
      case 0: return
      case 1:
        switch try System.readByte(signals, name: "a pipe").flatMap(System.TerminalSignal.init) {
        case .suspended:
          terminal.giveBack()
          System.suspend()
          try terminal.take()
        case .ended: return
        case .resized, nil: break
        }
      default:
        guard let key = try System.readByte(System.standardInput, name: "the terminal") else {
          keys = nil
          continue
        }
        if key == UInt8(ascii: "q") || key == UInt8(ascii: "Q") { return }
      }
    }
  }

  private func notice(_ cost: Duration) -> String {
    let pause = Watching.pause(interval, behindLookOf: cost)
    guard pause > interval else { return "every \(TimeSpan.text(interval)); q ends" }
    return "every \(HumanTime.text(pause / .seconds(1))), for a look takes"
      + " \(Figures.time(nanoseconds: cost / .nanoseconds(1))); q ends"
  }
}
