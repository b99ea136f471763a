// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Appends records from many tasks. Each append waits for stable storage. strace counts the syncs.
struct GroupCommit: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "group-commit")

  @Argument var topic: String
  @Option var tasks: Int
  @Option(help: "Of each task.") var records: Int

  func run() async throws {
    let writer = try QueueWriter(topic: Topic(topic))
    let start = Posix.now()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<tasks {
        group.addTask {
          for record in 0..<records {
            let payload = Payload.make(UInt64(task * records + record))
            try await writer.append(payload, ensuring: .synced)
          }
        }
      }
      try await group.waitForAll()
    }
    let rate = Figures.rate(UInt64(tasks * records), since: start)
    try await writer.close()

    var numbers: Set<UInt64> = []
    var reader = try QueueReader(topic: Topic(topic))
    while let record = try reader.nextCopy() {
      numbers.insert(try Payload.number(of: record.payload))
    }
    try check(
      numbers == Set(0..<UInt64(tasks * records)), "\(numbers.count) different records read back")
    Posix.say("tasks: \(tasks); records: \(tasks * records); a second, under strace: \(rate)")
  }
}
