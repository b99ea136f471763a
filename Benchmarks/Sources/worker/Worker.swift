// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Glibc
import Synchronization

/// The work that the comparison runs in a separate process.
///
///     worker fill TOPIC PAYLOAD SYNCED MORE   appends so many records and syncs, appends so many
///                                             more and flushes, prints "ready", and waits to be
///                                             killed
///     worker memory TOPIC PAYLOAD RECORDS     appends so many records and reads each of them, and
///                                             prints its peak resident memory in KiB
///     worker shards COUNT                     makes an empty sharded topic in memory, and prints
///                                             the growth of its resident memory in KiB
///     worker idle STREAMS                     lets so many streams wait in memory for a second,
///                                             and prints the processor time of that in
///                                             microseconds
@main
enum Worker {
  static func main() async {
    let arguments = CommandLine.arguments
    do {
      switch (arguments.dropFirst().first, arguments.dropFirst(3).compactMap { Int($0) }) {
      case ("shards", _) where arguments.count == 3:
        try emptyShards(Int(arguments[2]) ?? 1)
      case ("idle", _) where arguments.count == 3:
        try await idle(streams: Int(arguments[2]) ?? 1)
      case ("fill", let numbers) where numbers.count == 3:
        try fill(Topic(arguments[2]), payload: numbers[0], synced: numbers[1], more: numbers[2])
      case ("memory", let numbers) where numbers.count == 2:
        try useMemory(Topic(arguments[2]), payload: numbers[0], records: numbers[1])
      default:
        say(
          "usage: worker fill TOPIC PAYLOAD SYNCED MORE | memory TOPIC PAYLOAD RECORDS"
            + " | shards COUNT | idle STREAMS",
          to: 2)
        exit(64)
      }
    } catch {
      say("\(error)", to: 2)
      exit(1)
    }
  }

  private static func fill(
    _ topic: Topic, payload: Int, synced: Int, more: Int
  ) throws(QueueError) {
    let writer = try QueueWriter(topic: topic)
    let bytes = [UInt8](repeating: 1, count: payload)
    for _ in 0..<synced { try writer.append(bytes) }
    try writer.sync()
    for _ in 0..<more { try writer.append(bytes) }
    try writer.flush()
    say("ready", to: 1)
    while true { pause() }
  }

  private static func useMemory(_ topic: Topic, payload: Int, records: Int) throws(QueueError) {
    let writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic)
    let bytes = [UInt8](repeating: 1, count: payload)
    var read = 0
    for number in 1...records {
      try writer.append(bytes)
      guard number % 10_000 == 0 || number == records else { continue }
      try writer.flush()
      while try reader.next() != nil { read += 1 }
    }
    try writer.close()
    guard read == records, let peak = peakResident() else {
      say("read \(read) of \(records) records", to: 2)
      exit(1)
    }
    say("\(peak)", to: 1)
  }

  private static func emptyShards(_ count: Int) throws {
    // Make one topic before measuring: the first one of a process allocates memory that is not the
    // shards'.
    try ShardedWriter(topic: .memory(shards: 2)).close()
    let before = resident("VmRSS:") ?? 0
    let topic = ShardedTopic.memory(shards: count)
    let writer = try ShardedWriter(topic: topic)
    let used = (resident("VmRSS:") ?? 0) - before
    guard writer.shardCount == count else { exit(1) }
    try writer.close()
    say("\(used)", to: 1)
  }

  private final class Received: Sendable {
    let count = Atomic(0)
  }

  /// Each stream gets a record before that second and one after it, so that each stream waits and
  /// wakes.
  private static func idle(streams: Int) async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let received = Received()
    let tasks = (0..<streams).map { _ in
      Task {
        var count = 0
        for try await _ in try QueueReader(topic: topic).records(following: true) {
          received.count.add(1, ordering: .relaxed)
          count += 1
          if count == 2 { break }
        }
      }
    }
    try writer.append("before")
    while received.count.load(ordering: .relaxed) < streams { await sleep(milliseconds: 10) }
    await sleep(milliseconds: 100)
    let before = processorTime()
    await sleep(milliseconds: 1000)
    let used = processorTime() - before
    try writer.append("after")
    for task in tasks { try await task.value }
    say("\(Double(used) / 1000)", to: 1)
  }

  private static func sleep(milliseconds: Int64) async {
    // Fails only if the task is cancelled, which does not happen here.
    try? await Task.sleep(for: .milliseconds(milliseconds))
  }

  /// The processor time of all threads, in nanoseconds.
  private static func processorTime() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// The peak resident memory in KiB. It does not come from `getrusage`, which includes the memory
  /// of the process that started this one.
  private static func peakResident() -> Int? { resident("VmHWM:") }

  /// The number in a line of /proc/self/status, in KiB.
  private static func resident(_ line: String) -> Int? {
    let file = open("/proc/self/status", O_RDONLY)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    let count = read(file, &bytes, bytes.count)
    guard count > 0 else { return nil }
    let text = String(decoding: bytes[..<count], as: UTF8.self)
    for found in text.split(separator: "\n") where found.hasPrefix(line) {
      return found.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
    return nil
  }

  private static func say(_ text: String, to descriptor: Int32) {
    var line = Array((text + "\n").utf8)
    _ = write(descriptor, &line, line.count)
  }
}
