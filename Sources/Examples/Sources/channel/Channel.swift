// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueFoundation
import Support

/// A unit of work. A later program that adds a property makes it optional. So it understands the
/// jobs that an earlier program left on the disk.
struct Job: Codable, Sendable {
  var photo: String
  var width: Int
}

/// A work queue between two tasks that survives the end of the program. The next run delivers
/// unacknowledged jobs first.
@main
struct Channel: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "channel", abstract: "Sends jobs to itself, and does the waiting jobs.")

  @Argument(help: "The topic's directory.")
  var topic: String

  @Argument(help: "The photos to resize. Each is a job.")
  var photos: [String] = []

  @Option(help: "The width of the resized photos, in pixels.")
  var width = 640

  @Option(help: "End after so many jobs. The next run does the others.")
  var atMost = Int.max

  func validate() throws {
    guard atMost >= 0 else { throw ValidationError("--at-most must be at least 0") }
  }

  func run() async throws {
    // A message survives the program when `send` returns. With `options.ensuring = .synced` it also
    // survives a power cut.
    let channel = try DiskChannel(topic: Topic(topic))
    let jobs = channel.values(JSONCodec<Job>())

    async let sending: Void = send(to: jobs)
    for try await message in jobs.prefix(atMost) { try await handle(message) }
    try await sending

    // Makes the acknowledgements durable. Without it, for example after a kill, those of the last
    // 100 ms may be lost. Their jobs are delivered again, so doing a job twice must do no harm.
    try await channel.close()
  }

  private func send(to jobs: ValueChannel<JSONCodec<Job>>) async throws {
    // Ends the receiving loop, which first receives every message. Also runs if sending fails.
    defer { jobs.channel.finish() }
    for photo in photos { try await jobs.send(Job(photo: photo, width: width)) }
  }

  private func handle(_ message: ValueChannel<JSONCodec<Job>>.Message) async throws {
    let job: Job
    do {
      job = try message.value()
    } catch {
      // It would be delivered again and again. `diskq read TOPIC.dead --dead-letters` shows it.
      try await message.deadLetter(reason: "\(error)")
      return
    }
    printLine("resized \(job.photo) to \(job.width) pixels")
    // After the work, never before it.
    try message.acknowledge()
  }
}
