// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import FlyingFox
import FlyingSocks
import Foundation
import ServiceLifecycle
import Support

/// The HTTP side. Each handler is a function from a request to a response, and no handler blocks a
/// thread: appends wait in a task, and reads have threads of their own.
struct RecordServer: Service {
  private let writer: QueueWriter
  private let server: HTTPServer

  init(writer: QueueWriter, port: UInt16) async throws {
    self.writer = writer
    server = HTTPServer(address: try .inet(ip4: "127.0.0.1", port: port), logger: .disabled)
    await server.appendRoute("POST /records") { try await store($0, in: writer) }
    await server.appendRoute("GET /records") { try await page(of: writer.topic, $0) }
    await server.appendRoute("GET /record") { try await record(of: writer.topic, $0) }
    await server.appendRoute("GET /stream") { try stream(of: writer.topic, $0) }
  }

  /// Serves until the group shuts down. Then it takes no more connections, ends the streams, and
  /// gives the other requests a second to end.
  func run() async throws {
    try await withGracefulShutdownHandler {
      async let _ = announce()
      do {
        try await server.run()
      } catch {
        // The HTTP server reports its stop with an error, too.
        guard Task.isShuttingDownGracefully else { throw error }
      }
    } onGracefulShutdown: {
      Task { await server.stop(timeout: 1) }
    }
  }

  private func announce() async throws {
    try await server.waitUntilListening()
    guard case .ip4(let host, let port) = await server.listeningAddress else { return }
    printLine("http://\(host):\(port)")
  }
}

/// Answers after the record is on stable storage. Requests at the same time share a sync.
///
/// If the disk is full, the writer may keep the record in memory until there is room. Then the
/// answer is "accepted", with the address. The client must not send again: it asks for the record
/// later.
private func store(_ request: HTTPRequest, in writer: QueueWriter) async throws -> HTTPResponse {
  let body = try await request.bodyData
  do throws(QueueError) {
    let result = try await writer.append(body, ensuring: .synced)
    return HTTPResponse(statusCode: .created, body: Data("\(result.ordinal)\n".utf8))
  } catch {
    say("\(error)")
    switch (error.code, error.appended) {
    case (.noSpace, 0):
      let headers: HTTPHeaders = [HTTPHeader("Retry-After"): "60"]
      return HTTPResponse(statusCode: .serviceUnavailable, headers: headers)
    case (.noSpace, _), (.system, 1):
      let address = error.address.map { "address \($0)\n" } ?? ""
      return HTTPResponse(statusCode: .accepted, body: Data(address.utf8))
    case (.payloadTooLarge, _):
      return HTTPResponse(statusCode: .payloadTooLarge)
    default:
      return HTTPResponse(statusCode: .internalServerError)
    }
  }
}

/// Answers with one page of records. If there is none yet, it waits up to `wait` seconds for the
/// next one. The client goes on at the ordinal after the last one.
private func page(of topic: Topic, _ request: HTTPRequest) async throws -> HTTPResponse {
  do {
    let start = start(request)
    let wait = Duration.seconds(min(number("wait", of: request) ?? 0, 10))
    // A page that waits must not hold up the shutdown.
    let page = try await cancelWhenGracefulShutdown {
      try await topic.page(from: start, upTo: 100, waiting: wait)
    }
    for loss in page.losses { say("lost: \(loss)") }
    return HTTPResponse(statusCode: .ok, body: Data(page.records.flatMap(line)))
  } catch let error as QueueError {
    return refusal(error)
  }
}

/// Answers with the record at an address.
private func record(of topic: Topic, _ request: HTTPRequest) async throws -> HTTPResponse {
  guard let address = number("address", of: request) else {
    return HTTPResponse(statusCode: .badRequest)
  }
  do throws(QueueError) {
    let record = try await topic.record(at: Address(rawValue: address))
    return HTTPResponse(statusCode: .ok, body: Data(line(record)))
  } catch {
    return refusal(error)
  }
}

/// Answers with all records from a position on, and never ends by itself: it waits for new records.
/// A slow client slows down only its own stream. Each stream costs a thread, three descriptors and
/// the memory of a batch. For many clients, let them ask for pages that wait.
private func stream(of topic: Topic, _ request: HTTPRequest) throws -> HTTPResponse {
  do throws(QueueError) {
    let reader = try QueueReader(topic: topic, from: start(request)) { say("lost: \($0)") }
    let batches = reader.batches(upTo: 100, following: true).cancelOnGracefulShutdown()
    return HTTPResponse(statusCode: .ok, body: HTTPBodySequence(from: Lines(batches: batches)))
  } catch {
    return refusal(error)
  }
}

private func start(_ request: HTTPRequest) -> Topic.Position {
  number("from", of: request).map(Topic.Position.ordinal) ?? .earliest
}

private func number(_ name: String, of request: HTTPRequest) -> UInt64? {
  request.query.first { $0.name == name }.flatMap { UInt64($0.value) }
}

private func refusal(_ error: QueueError) -> HTTPResponse {
  let status: HTTPStatusCode
  switch error.code {
  case .beyondLatest, .notARecord: status = .notFound
  case .cleaned: status = .gone
  // The server shuts down.
  case .cancelled: status = .serviceUnavailable
  default:
    say("\(error)")
    return HTTPResponse(statusCode: .internalServerError)
  }
  return HTTPResponse(statusCode: status, body: Data("\(error.message)\n".utf8))
}

/// A record on a line of its own, after its ordinal.
private func line(_ record: QueueRecord) -> [UInt8] {
  Array("\(record.ordinal) ".utf8) + record.payload + [UInt8(ascii: "\n")]
}

/// Batches of records as the body of a response. Each batch becomes one chunk.
private struct Lines<Batches: AsyncSequence & Sendable>: AsyncBufferedSequence
where Batches.Element == RecordBatch {
  let batches: Batches

  func makeAsyncIterator() -> Iterator { Iterator(batches: batches.makeAsyncIterator()) }

  struct Iterator: AsyncBufferedIteratorProtocol {
    var batches: Batches.AsyncIterator
    private var rest: ArraySlice<UInt8> = []

    init(batches: Batches.AsyncIterator) { self.batches = batches }

    mutating func nextBuffer(suggested count: Int) async throws -> ArraySlice<UInt8>? {
      defer { rest = [] }
      if !rest.isEmpty { return rest }
      return try await batches.next().map { ArraySlice($0.flatMap(line)) }
    }

    mutating func next() async throws -> UInt8? {
      if rest.isEmpty { rest = try await nextBuffer(suggested: 1) ?? [] }
      return rest.popFirst()
    }
  }
}
