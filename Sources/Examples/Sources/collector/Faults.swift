// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import FlyingFox

/// What goes wrong on purpose, so that the uploader has something to bear.
actor Faults {
  enum Fault {
    /// 503, with the time to come again.
    case unavailable
    /// The readings are taken, and the connection is closed: the uploader cannot know.
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

/// Closes the connection without a byte: to the server, an upgrade that came to nothing.
struct HangingUp: WSHandler {
  func makeFrames(
    for client: AsyncThrowingStream<WSFrame, any Error>
  ) async throws -> AsyncStream<WSFrame> { throw CancellationError() }
}
