// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Foundation
import Support

/// The server, as one that answers in the end.
struct Server: Sendable {
  enum Answer {
    /// It has them, for good.
    case taken
    /// It will never take them: at least one is not what it should be.
    case refused(String)
  }

  struct Failure: Error, CustomStringConvertible { let description: String }

  let url: String

  /// Tries until the server has answered for good; ends early only if the task is cancelled, or the
  /// server does not know us.
  func send(_ readings: [Reading]) async throws -> Answer {
    var request = HTTPClientRequest(url: url)
    request.method = .POST
    request.headers.add(name: "Content-Type", value: "application/json")
    request.body = .bytes(try JSONEncoder().encode(readings))
    var backoff = Backoff()
    while true {
      var asked: Duration?
      do {
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        switch response.status.code {
        case 200..<300:
          return .taken
        case 408, 425, 429, 500...:
          asked = response.headers.first(name: "Retry-After").flatMap(Backoff.asked)
          say("the server answers \(response.status)")
        case 400, 409..<500:
          return .refused(try await reason(response))
        default:
          // A wrong URL or a wrong password: no fault of the records, which wait on the disk.
          throw Failure(description: "\(url) answers \(response.status)")
        }
      } catch let failure as Failure {
        throw failure
      } catch {
        try Task.checkCancellation()
        // The server may have taken them; it sorts out what comes twice.
        say("no answer: \(error)")
      }
      try await Task.sleep(for: backoff.next(asked: asked))
    }
  }

  /// The status, and the beginning of what the server says to it.
  private func reason(_ response: HTTPClientResponse) async throws -> String {
    for try await part in response.body { return "\(response.status): \(String(buffer: part))" }
    return "\(response.status)"
  }
}

/// How long to wait before the next attempt.
struct Backoff {
  static let longest = Duration.seconds(60)
  /// Longer than this a server cannot silence us, by a slip of its clock say.
  static let longestAsked = 3600.0

  private var bound = Duration.milliseconds(100)

  /// Up to a bound that doubles each time, at random, so that those who were turned away together
  /// do not come back together; behind the time that the server asked for.
  mutating func next(asked: Duration?) -> Duration {
    let wait = bound * Double.random(in: 0...1)
    bound = min(bound * 2, Self.longest)
    return (asked ?? .zero) + wait
  }

  /// What a `Retry-After` says: seconds, or a date.
  static func asked(_ text: String) -> Duration? {
    let dates = DateFormatter()
    dates.locale = Locale(identifier: "en_US_POSIX")
    dates.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
    guard let seconds = Double(text) ?? dates.date(from: text)?.timeIntervalSinceNow, seconds > 0
    else { return nil }
    return .seconds(min(seconds, longestAsked))
  }
}
