// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Looks at a topic again and again, until a stop is asked for. On a terminal it draws in place.
/// Otherwise it prints a line for each look.
struct Watching {
  let topic: String
  /// The shortest time from one look to the next.
  let interval: Duration
  let json: Bool
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool

  /// Looks take at most one part in this many of the time, however many slabs there are.
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

  /// The time from the start of a look to the start of the next.
  static func pause(_ interval: Duration, afterLookOf time: Duration) -> Duration {
    max(interval, time * share)
  }

  /// The result of a look after the first one.
  private enum Seen {
    case look(TopicLook)
    /// The look failed, for example because a slab was removed or the topic moved during the look.
    /// Watching goes on.
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
      let next = begin + Watching.pause(interval, afterLookOf: begin.duration(to: .now))
      // Also end at once if the reader of the lines goes away during the wait.
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
        // Report the same failure once, not at each look.
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
    // Order: block signals before any thread is started. Make the first look before taking the
    // terminal, so that its error is shown on the user's screen.
    System.blockTerminalSignals()
    let stop = try StopSignals.caught()
    let signals = try System.terminalSignalPipe()
    var begin = ContinuousClock.now
    var trend = TopicTrend(try TopicLook(at: topic, since: start))
    var failure: String?

    let terminal = Terminal()
    // Restore the terminal at once, even if a look or the terminal itself is slow.
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
        until: begin + Watching.pause(interval, afterLookOf: cost))
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
    let pause = Watching.pause(interval, afterLookOf: cost)
    guard pause > interval else { return "every \(TimeSpan.text(interval)), q ends" }
    return "every \(HumanTime.text(pause / .seconds(1))), because a look takes"
      + " \(Figures.time(nanoseconds: cost / .nanoseconds(1))), q ends"
  }
}
