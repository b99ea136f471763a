// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import FlyingFox
import FlyingSocks
import Foundation
import Support

/// The server that receives the uploader's readings. It may be killed at any moment: each reading
/// that it confirmed is on stable storage, once. It also fails on purpose, as networks do.
@main
struct Collector: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "collector",
    abstract: "Takes readings over HTTP, on this machine only, and appends them to a topic.",
    discussion: "Its first line of output is the URL to send to.")

  @Argument(help: "The topic's directory.")
  var topic: String

  @Option(help: "The port to listen at. With 0, any free port.")
  var port: UInt16 = 0

  @Option(help: "Fail one of so many requests, in turn with status 503 and without an answer.")
  var failEvery: Int?

  func validate() throws {
    guard failEvery ?? 2 > 1 else { throw ValidationError("--fail-every must be at least 2") }
  }

  func run() async throws {
    let store = try Store(topic: Topic(topic))
    let faults = Faults(every: failEvery)
    let server = HTTPServer(
      address: try .inet(ip4: "127.0.0.1", port: port), logger: .disabled)
    await server.appendRoute("POST /readings") { request in
      do {
        return try await answer(request, store, await faults.next())
      } catch {
        // The HTTP server answers this error with 500.
        say("\(error)")
        throw error
      }
    }
    try await untilStopped {
      async let _ = announce(server)
      do {
        try await server.run()
      } catch SocketError.disconnected where Task.isCancelled {
        // The HTTP server reports its stop with this error.
      }
    }
    try await store.close()
  }

  private func announce(_ server: HTTPServer) async throws {
    try await server.waitUntilListening()
    guard case .ip4(let host, let port) = await server.listeningAddress else { return }
    printLine("http://\(host):\(port)/readings")
  }

  private func answer(
    _ request: HTTPRequest, _ store: Store, _ fault: Faults.Fault?
  ) async throws -> HTTPResponse {
    if fault == .unavailable {
      let headers: HTTPHeaders = [HTTPHeader("Retry-After"): "1"]
      return HTTPResponse(statusCode: .serviceUnavailable, headers: headers)
    }
    let answer = try await take(request.bodyData, into: store)
    return fault == .noAnswer ? HTTPResponse(webSocket: HangingUp()) : answer
  }

  /// Stores all readings, or none if one of them is not a time, a comma and a number.
  private func take(_ body: Data, into store: Store) async throws -> HTTPResponse {
    guard let readings = try? JSONDecoder().decode([Reading].self, from: body) else {
      return HTTPResponse(statusCode: .badRequest, body: Data("no readings in JSON".utf8))
    }
    var sound: [(address: Address, payload: Data)] = []
    for reading in readings {
      let fields = String(decoding: reading.payload, as: UTF8.self).split(separator: ",")
      guard let address = Address(reading.address), fields.count == 2, Double(fields[1]) != nil
      else {
        return HTTPResponse(statusCode: .unprocessableContent, body: Data("not a reading".utf8))
      }
      sound.append((address, reading.payload))
    }
    try await store.take(sound)
    return HTTPResponse(statusCode: .noContent)
  }
}
