// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import FlyingFox

/// Deliberate faults, so that the uploader has failures to handle.
actor Faults {
  enum Fault {
    /// Answers 503, with the time of the next attempt.
    case unavailable
    /// Stores the readings and closes the connection. The uploader cannot know the result.
    case noAnswer
  }

  private let interval: Int?
  private var requests = 0

  init(every interval: Int?) { self.interval = interval }

  func next() -> Fault? {
    guard let interval else { return nil }
    requests += 1
    guard requests.isMultiple(of: interval) else { return nil }
    return requests.isMultiple(of: 2 * interval) ? .noAnswer : .unavailable
  }
}

/// Closes the connection without sending a byte. The HTTP server sees an upgrade that failed.
struct HangingUp: WSHandler {
  func makeFrames(
    for client: AsyncThrowingStream<WSFrame, any Error>
  ) async throws -> AsyncStream<WSFrame> { throw CancellationError() }
}
