// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Foundation
import Support

/// A server that retries each request until it has an answer.
struct Server: Sendable {
  enum Answer {
    /// The server has stored the readings.
    case taken
    /// The server will never accept the readings: at least one is invalid.
    case refused(String)
  }

  struct Failure: Error, CustomStringConvertible { let description: String }

  let url: String

  /// Retries until the server has given a final answer. Ends earlier only if the task is cancelled,
  /// or the server rejects this client.
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
          // A wrong URL or a wrong password. The records are not the cause, and wait on the disk.
          throw Failure(description: "\(url) answers \(response.status)")
        }
      } catch let failure as Failure {
        throw failure
      } catch {
        try Task.checkCancellation()
        // The server may have stored the readings. It ignores those that arrive twice.
        say("no answer: \(error)")
      }
      try await Task.sleep(for: backoff.next(asked: asked))
    }
  }

  /// The status and the beginning of the server's explanation.
  private func reason(_ response: HTTPClientResponse) async throws -> String {
    for try await part in response.body { return "\(response.status): \(String(buffer: part))" }
    return "\(response.status)"
  }
}

/// The time to wait before the next attempt.
struct Backoff {
  static let longest = Duration.seconds(60)
  /// The longest wait that a server can request, in case its clock is wrong.
  static let longestAsked = 3600.0

  private var bound = Duration.milliseconds(100)

  /// Returns a random wait up to a bound that doubles each time, added to the time that the server
  /// requested. So clients that were rejected together do not return together.
  mutating func next(asked: Duration?) -> Duration {
    let wait = bound * Double.random(in: 0...1)
    bound = min(bound * 2, Self.longest)
    return (asked ?? .zero) + wait
  }

  /// The wait that a `Retry-After` header states: a number of seconds, or a date.
  static func asked(_ text: String) -> Duration? {
    let dates = DateFormatter()
    dates.locale = Locale(identifier: "en_US_POSIX")
    dates.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
    guard let seconds = Double(text) ?? dates.date(from: text)?.timeIntervalSinceNow, seconds > 0
    else { return nil }
    return .seconds(min(seconds, longestAsked))
  }
}
