// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// The wait of `--follow` for a topic that does not exist yet.
enum Arrival {
  enum Outcome {
    case wasThere
    /// The topic was made during the wait.
    case came
    case stopped
  }

  /// Waits until the topic exists, or until a stop is asked for. Reports the wait.
  static func wait(for path: String, until stop: StopSignals) throws(QueueError) -> Outcome {
    do throws(QueueError) {
      _ = try Topic(path).openForReading()
      return .wasThere
    } catch {
      guard error.code == .noSuchTopic else { throw error }
    }
    Messages.say("there is no topic at this path yet: waiting for it [\(path)]")
    let arrival = TopicArrival(at: path)
    stop.onStop { arrival.end() }
    do throws(QueueError) {
      try arrival.waitBlocking { Messages.say($0) }
    } catch {
      guard error.code == .cancelled else { throw error }
    }
    return stop.isStopped ? .stopped : .came
  }
}

extension Start {
  /// The position at which to begin in a topic that came after the command was started. All its
  /// records are later than the latest one at that time.
  func position(in arrival: Arrival.Outcome) -> Topic.Position {
    arrival == .came && position == .latest ? .earliest : position
  }

  /// Reports that no record starts at the address asked for, so that reading begins later.
  func reportLaterStart(at first: Address, path: String) {
    guard let address, address.rawValue > 0, address < first else { return }
    Messages.say(
      "no record starts at address \(address): beginning at \(first), after it [\(path)]")
  }
}
